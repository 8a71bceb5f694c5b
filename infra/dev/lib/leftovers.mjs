// @ts-check
/**
 * Finds processes that tests left behind, by a mark in their environment that every process below a test run
 * inherits. Only Linux shows other processes' environments; elsewhere nothing is found.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';

/** Variable that marks the processes of a test run. */
export const MARK = 'LONGHAUL_TEST_RUN';

/** A fresh mark. */
export const newMark = () => randomUUID();

/**
 * Marked processes, this one excepted.
 *
 * @param {string} mark
 * @returns {{ pid: number, command: string }[]}
 */
export function processesWithMark(mark) {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => read(`/proc/${name}/environ`).split('\0').includes(`${MARK}=${mark}`))
    .map((name) => ({
      pid: Number(name),
      command: read(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim(),
    }));
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // It ended meanwhile, or belongs to someone else.
    return '';
  }
}
