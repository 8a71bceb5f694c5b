/** Processes of this machine by the run they work for. Linux shows other processes' environments, nothing else does. */
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** A process that works for a run. */
export interface RunProcess {
  readonly pid: number;
  readonly command: string;
  /** Process group. */
  readonly group: number;
}

/** Processes of a run's jobs: shims, wrappers and trainers, found by the spec in their environment. Zombies don't count. */
export function processesOfRun(runUrl: string): RunProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => read(`/proc/${name}/environ`).includes(`LONGHAUL_SPEC_URL=${runUrl}/`))
    .map((name) => ({
      pid: Number(name),
      command: read(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim(),
      group: Number(statFields(name)[2]),
    }))
    .filter(({ pid }) => (statFields(String(pid))[0] ?? 'Z') !== 'Z');
}

/** The trainer of a run: the wrapper's child, which computes; the wrapper leads the process group. */
export function trainerOf(runUrl: string): RunProcess | undefined {
  return processesOfRun(runUrl).find(
    ({ pid, group, command }) => pid !== group && command.includes('longhaul_trainer'),
  );
}

/** Whether a process that stands still has been sent a SIGTERM, which waits for it to go on. */
export function awaitsSigterm(pid: number): boolean {
  const pending = /^ShdPnd:\s+([0-9a-f]+)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? '0';
  return ((BigInt(`0x${pending}`) >> BigInt(constants.signals.SIGTERM - 1)) & 1n) === 1n;
}

/** Fields of /proc/<pid>/stat after the command: state, parent, group, …; none when the process is gone. */
function statFields(pid: string): string[] {
  const stat = read(`/proc/${pid}/stat`);
  return stat === '' ? [] : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // It ended meanwhile, or belongs to someone else.
    return '';
  }
}
