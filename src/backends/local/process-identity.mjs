/** Whether a recorded process is still that process: a pid alone may have been given to another since. */
import { readFileSync } from 'node:fs';

/** Fields of /proc/<pid>/stat after the command, whose parentheses may hold spaces; null without such a process. */
function statFields(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

export function processIdentity(pid) {
  return { pid, startTicks: statFields(pid)?.[19] ?? null };
}

export function isSameProcessAlive({ pid, startTicks }) {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const fields = statFields(pid);
  // Systems without /proc: the signal is all there is to go by.
  if (fields === null) return startTicks === null;
  return fields[0] !== 'Z' && fields[19] === startTicks;
}
