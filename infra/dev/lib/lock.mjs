// @ts-check
/** A lock between processes: a file that names its holder. One left by a process that is gone is taken over. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryBeside } from './files.mjs';
import { startOf } from './process-identity.mjs';

const POLL_MS = 200;

/**
 * Who holds a lock: a process id, and when that process started, since ids are given again.
 *
 * @typedef {{ pid: number, startedAt: string }} Holder
 */

/**
 * Takes the lock, waiting for a living holder.
 *
 * @param {string} file
 * @param {{ onWait?: (pid: number) => void, signal?: AbortSignal }} [options] `onWait` is told once, when there is someone to
 *   wait for; `signal` ends the wait
 * @returns {Promise<() => Promise<void>>} Gives the lock back
 */
export async function takeLock(file, { onWait = () => {}, signal } = {}) {
  await mkdir(path.dirname(file), { recursive: true });
  let told = false;
  for (;;) {
    signal?.throwIfAborted();
    if (await create(file)) return () => rm(file, { force: true });
    const holder = await holderOf(file);
    if (holder !== undefined && (await isThere(holder))) {
      if (!told) onWait(holder.pid);
      told = true;
      await sleep(POLL_MS);
    } else {
      await removeStale(file, holder);
    }
  }
}

/** @param {Holder} holder */
const isThere = async ({ pid, startedAt }) => (await startOf(pid)) === startedAt;

/** @param {string} file */
async function create(file) {
  const self = `${process.pid} ${await startOf(process.pid)}`;
  try {
    const handle = await open(file, 'wx');
    await handle.writeFile(self);
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
 * @returns {Promise<Holder | undefined>}
 */
async function holderOf(file) {
  for (const wait of [POLL_MS, 0]) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const [, pid, startedAt] = /^(\d+) (.+)$/.exec(text) ?? [];
    if (pid !== undefined && startedAt !== undefined) return { pid: Number(pid), startedAt };
    if (wait > 0) await sleep(wait);
  }
  return undefined;
}

/**
 * Moves a dead holder's file away and removes it, unless someone else replaced it between the look and the move.
 *
 * @param {string} file
 * @param {Holder | undefined} holder
 */
async function removeStale(file, holder) {
  const away = temporaryBeside(file);
  try {
    await rename(file, away);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
  const moved = await holderOf(away);
  if (moved !== undefined && moved.pid !== holder?.pid && (await isThere(moved))) await rename(away, file);
  else await rm(away, { force: true, recursive: true });
}
