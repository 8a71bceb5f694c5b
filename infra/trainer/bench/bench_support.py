"""What benchmarks share with the tests: a real S3 server on a temporary folder, and stages to train."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# Found by the path above, which therefore comes first.
from conftest import ACCESS_KEY, SECRET_KEY, find_versitygw  # noqa: E402
from listening import bound_port  # noqa: E402


@contextmanager
def s3_server(folder: Path | None = None) -> Iterator[str]:
    """versitygw with an empty bucket `bench`; the environment names it meanwhile. Yields its endpoint."""
    with tempfile.TemporaryDirectory(prefix="longhaul-bench-", dir=folder) as place:
        server = subprocess.Popen(
            [find_versitygw(), "--quiet", "--port", "127.0.0.1:0", "posix", place],
            env={"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = bound_port(server)
            (Path(place) / "bench").mkdir()
            os.environ.update(
                LONGHAUL_S3_ENDPOINT=f"http://127.0.0.1:{port}",
                AWS_REGION="us-east-1",
                AWS_ACCESS_KEY_ID=ACCESS_KEY,
                AWS_SECRET_ACCESS_KEY=SECRET_KEY,
            )
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()
