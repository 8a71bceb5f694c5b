/** The data folder: made for its owner's eyes only, and looked over before any server meets what it can't use. */
import { chmod, mkdir, open, readdir, realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { isMissing, systemProblem, temporaryBeside } from '../lib/files.mjs';

/** The stack can't be started here. The message says why, in sentences for people. */
export class StackError extends Error {
  override readonly name = 'StackError';
}

/** Files and folders that are read and written beside those that servers make in them. */
const FILES = [
  ...['stack.json', 'credentials.json'],
  ...['temporal.db', 'temporal.db-wal', 'temporal.db-shm', 'temporal.db-tables'],
];
const FOLDERS = ['.', 's3', 'jobs', 'cache'];

/**
 * Makes the folders, with permissions for their owner alone, and returns the data folder's real path: servers are known by it.
 *
 * @throws {StackError} with everything that can't be read or written
 */
export async function prepareFolder(dataDir: string, logDir: string): Promise<string> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await chmod(dataDir, 0o700);
    await mkdir(logDir, { recursive: true });
  } catch (error) {
    throw asStackError(error);
  }
  const folder = await realpath(dataDir);
  const problems = await Promise.all([
    ...FILES.map((name) => problemOf(path.join(folder, name), 'file')),
    ...FOLDERS.map((name) => problemOf(path.join(folder, name), 'folder')),
    problemOf(logDir, 'folder'),
  ]);
  const found = problems.filter((problem) => problem !== undefined);
  if (found.length > 0) throw new StackError(found.join('\n'));
  return folder;
}

/** What the system says about a file, as a sentence; anything else is thrown on. */
export function asStackError(error: unknown): unknown {
  const sentence = systemProblem(error);
  return sentence === undefined ? error : new StackError(sentence, { cause: error });
}

/** Why something can't be used as it has to be; undefined when it can, or isn't there yet. */
async function problemOf(place: string, kind: 'file' | 'folder'): Promise<string | undefined> {
  try {
    const facts = await stat(place);
    if (facts.isDirectory() !== (kind === 'folder')) return `${place} is no ${kind}.`;
    await (kind === 'file' ? tryFile(place) : tryFolder(place));
    return undefined;
  } catch (error) {
    if (isMissing(error)) return undefined;
    const sentence = systemProblem(error, place);
    if (sentence === undefined) throw error;
    const owner = (await stat(place).catch(() => undefined))?.uid;
    return owner === undefined || owner === process.geteuid?.()
      ? sentence
      : `${sentence} It belongs to user ${String(owner)}.`;
  }
}

/** Opens it for reading and writing: permissions alone do not tell of a file system that can't be written. */
async function tryFile(file: string): Promise<void> {
  await (await open(file, 'r+')).close();
}

/** Lists it, and makes a file in it. */
async function tryFolder(folder: string): Promise<void> {
  await readdir(folder);
  const probe = temporaryBeside(path.join(folder, 'probe'));
  await (await open(probe, 'wx')).close();
  await rm(probe);
}
