/** Processes of this machine by the run they work for. Linux shows other processes' environments, nothing else does. */
import { readdirSync, readFileSync } from 'node:fs';

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

/** Address space of a process, bytes. */
export function addressSpaceBytes(pid: number): number {
  const kibibytes = /^VmSize:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1];
  if (kibibytes === undefined) throw new Error(`process ${pid} is gone`);
  return Number(kibibytes) * 1024;
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
