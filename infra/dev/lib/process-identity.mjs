// @ts-check
/** When a process started: with that, a recorded process id is not taken for another process that got it since. */
import { readFileSync } from 'node:fs';
import { run } from './processes.mjs';

/**
 * The moment a process started, as the system words it; undefined when there is none with that id, or it has ended and only
 * waits for its parent to notice.
 *
 * @param {number} pid
 * @returns {Promise<string | undefined>}
 */
export async function startOf(pid) {
  return process.platform === 'linux' ? startOnLinux(pid) : startFromPs(pid);
}

/**
 * Clock ticks since boot: field 22, counted after the name, which may hold spaces and brackets.
 *
 * @param {number} pid
 */
function startOnLinux(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** @param {number} pid */
async function startFromPs(pid) {
  const { code, output } = await run('ps', ['-o', 'lstart=', '-p', String(pid)]);
  return code === 0 && output.trim() !== '' ? output.trim() : undefined;
}
