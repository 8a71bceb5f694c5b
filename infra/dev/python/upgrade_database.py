"""Gives a database that an older Temporal server has made what the server of today asks for: it adds, and changes nothing.

The dev server makes its tables once, and has no upgrade of its own. Called with the path of the SQLite file.
"""

import sqlite3
import sys

# Of 1.30: a server asks it before it looks for a schedule in the older tables.
TABLES = """
CREATE TABLE IF NOT EXISTS current_chasm_executions (
    shard_id INT NOT NULL,
    namespace_id BINARY(16) NOT NULL,
    business_id VARCHAR(255) NOT NULL,
    archetype_id BIGINT NOT NULL,
    run_id BINARY(16) NOT NULL,
    create_request_id VARCHAR(255) NOT NULL,
    state INT NOT NULL,
    status INT NOT NULL,
    start_time TIMESTAMP NULL,
    last_write_version BIGINT NOT NULL,
    data MEDIUMBLOB NOT NULL,
    data_encoding VARCHAR(16) NOT NULL DEFAULT '',
    PRIMARY KEY (shard_id, namespace_id, business_id, archetype_id)
);
"""

with sqlite3.connect(sys.argv[1]) as database:
    database.executescript(TABLES)
