/** A process of this machine: its pid, and its start in clock ticks since boot (null where /proc is missing). */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: string | null;
}

/** Identity of a running process. */
export function processIdentity(pid: number): ProcessIdentity;

/** Whether that very process still runs; a zombie counts as gone. */
export function isSameProcessAlive(identity: ProcessIdentity): boolean;
