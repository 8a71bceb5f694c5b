/** The Temporal server's database before and after the server: one whose making was cut short, and one of an older server. */
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readText } from '../lib/files.mjs';
import { lastLines, run } from '../lib/processes.mjs';
import { findPython } from '../lib/python.mjs';
import { StackError } from './folder.js';

/** Server whose tables the database has. */
const TABLES_OF = '1.32';
const UPGRADE = fileURLToPath(new URL('../python/upgrade_database.py', import.meta.url));

/** The SQLite file in a data folder. */
export const databaseOf = (dataDir: string): string => path.join(dataDir, 'temporal.db');

/** Says that the database has never been ready: the server makes its tables one by one, and does not go on where it was stopped. */
const unfinishedMark = (dataDir: string): string => path.join(dataDir, 'temporal.db-unfinished');

/** Says whose tables it has. */
const tablesMark = (dataDir: string): string => path.join(dataDir, 'temporal.db-tables');

/**
 * Readies the folder for a server: a database whose making was cut short, in which no run can be, is removed; one that an older
 * server has made gets the tables that it lacks.
 *
 * @throws {StackError} when the older one can't be upgraded
 */
export async function beforeServer(dataDir: string): Promise<void> {
  const database = databaseOf(dataDir);
  const mark = unfinishedMark(dataDir);
  if (existsSync(mark)) {
    for (const file of [database, `${database}-wal`, `${database}-shm`]) await rm(file, { force: true });
  }
  if (!existsSync(database)) await writeFile(mark, '');
  else if ((await readText(tablesMark(dataDir))) !== TABLES_OF) await upgrade(database);
}

/** Remembers that the server has been ready, and so has made all of its tables. */
export async function afterServer(dataDir: string): Promise<void> {
  await writeFile(tablesMark(dataDir), TABLES_OF);
  await rm(unfinishedMark(dataDir), { force: true });
}

async function upgrade(database: string): Promise<void> {
  const found = await findPython(process.env);
  const { code, output } =
    'python' in found
      ? await run(found.python.file, [UPGRADE, database])
      : { code: 1, output: found.problem };
  if (code === 0) return;
  throw new StackError(
    `${database} is of an earlier Temporal server, and could not be upgraded to ${TABLES_OF}: ${lastLines(output, 1)}`,
  );
}
