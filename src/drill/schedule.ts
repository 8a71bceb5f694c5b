/** Which faults strike a run and when: a pure function of a seed, so that a drill can be repeated. */
import { createHash } from 'node:crypto';

/**
 * - `preempt`: the job is told to stop, with its grace, as a scheduler does that takes the machine away
 * - `kill`: the job's processes are gone at once
 * - `freeze`: the job's processes stand still for a while and go on, as on a paused machine
 * - `kill-worker`: the worker is gone at once, and another one starts
 * - `drain-worker`: the worker is told to end, as in a rollout, and another one starts
 */
export const FAULT_KINDS = ['preempt', 'kill', 'freeze', 'kill-worker', 'drain-worker'] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** A fault to come. */
export interface PlannedFault {
  readonly kind: FaultKind;
  /** Commits of the stage to wait for since the fault before; 0: strike a job that may still be starting. */
  readonly afterCommits: number;
  /** Seconds from there, with a job running, to the fault. */
  readonly afterSeconds: number;
  /** How long a `freeze` lasts, seconds. */
  readonly frozenSeconds: number;
}

/** What to draw. */
export interface ScheduleOptions {
  readonly seed: number;
  readonly faults: number;
  /** Kinds to draw from, each as likely as the others. */
  readonly kinds: readonly FaultKind[];
  /** Largest `afterCommits`, which is uniform from 0. */
  readonly mostCommits: number;
  /** Mean of `afterSeconds`, which is exponential: machines are taken away without memory. */
  readonly meanSeconds: number;
  /** Longest freeze, seconds; freezes are uniform below it. */
  readonly longestFreezeSeconds: number;
}

/** Draws a schedule. @throws RangeError without a kind to draw from. */
export function faultSchedule(options: ScheduleOptions): PlannedFault[] {
  const { seed, faults, kinds, mostCommits, meanSeconds, longestFreezeSeconds } = options;
  return Array.from({ length: faults }, (_, index) => {
    const draw = (what: string): number => uniform(`${seed} ${index} ${what}`);
    const kind = kinds[Math.floor(draw('kind') * kinds.length)];
    if (kind === undefined) throw new RangeError('a drill needs at least one kind of fault');
    return {
      kind,
      afterCommits: Math.floor(draw('commits') * (mostCommits + 1)),
      afterSeconds: -meanSeconds * Math.log(1 - draw('after')),
      frozenSeconds: longestFreezeSeconds * draw('frozen'),
    };
  });
}

/** A number in [0, 1) that follows from the text: the first 48 bits of its SHA-256. */
export function uniform(text: string): number {
  return createHash('sha256').update(`longhaul.drill/1 ${text}`).digest().readUIntBE(0, 6) / 2 ** 48;
}
