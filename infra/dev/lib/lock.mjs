// @ts-check
/** A lock between processes: a file that names its holder. One left by a process that is gone is taken over. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { temporaryBeside } from './files.mjs';

const POLL_MS = 200;

/**
 * Whether a process is there. A process of another user counts as there.
 *
 * @param {number} pid
 */
export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/**
 * Takes the lock, waiting for a living holder.
 *
 * @param {string} file
 * @param {(holder: number) => void} [onWait] Told once, when there is someone to wait for
 * @returns {Promise<() => Promise<void>>} Gives the lock back
 */
export async function takeLock(file, onWait = () => {}) {
  await mkdir(path.dirname(file), { recursive: true });
  let told = false;
  for (;;) {
    if (await create(file)) return () => rm(file, { force: true });
    const holder = await holderOf(file);
    if (holder !== undefined && isAlive(holder)) {
      if (!told) onWait(holder);
      told = true;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    } else {
      await removeStale(file, holder);
    }
  }
}

/** @param {string} file */
async function create(file) {
  try {
    const handle = await open(file, 'wx');
    await handle.writeFile(String(process.pid));
    await handle.close();
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * The process that holds the lock; undefined when the file is gone or names none. A file without a name may be just
 * being written, so that is looked at twice.
 *
 * @param {string} file
 */
async function holderOf(file) {
  for (const wait of [POLL_MS, 0]) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const pid = Number.parseInt(text, 10);
    if (Number.isInteger(pid) && pid > 0) return pid;
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return undefined;
}

/**
 * Moves a dead holder's file away and removes it, unless someone else replaced it between the look and the move.
 *
 * @param {string} file
 * @param {number | undefined} holder
 */
async function removeStale(file, holder) {
  const away = temporaryBeside(file);
  try {
    await rename(file, away);
  } catch {
    return;
  }
  const moved = await holderOf(away);
  if (moved !== holder && moved !== undefined && isAlive(moved)) await rename(away, file);
  else await rm(away, { force: true });
}
