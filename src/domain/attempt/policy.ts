/**
 * What to do when an attempt of a stage has ended: relaunch, wait and relaunch, or park. Pure, so that the rules can be read
 * and tested without a workflow.
 */
import { z } from 'zod';
import { FAILURES, FAILURE_CLASSES } from './failure-class.js';
import { isCertainlyOfNode } from './verdict.js';
import type { FailureClass } from './failure-class.js';

/** How one attempt ended, as far as the policy cares. */
export interface AttemptRecord {
  readonly epoch: number;
  readonly class: FailureClass;
  /** Class, exception and frames in one string; equal signatures are the same failure again. */
  readonly signature: string;
  /** Whether a checkpoint was committed, or an evaluation sample finished, during the attempt. */
  readonly progressed: boolean;
  /** Last optimizer step done. */
  readonly step: number;
  /** Where it ran; null where the backend doesn't say. */
  readonly node: string | null;
}

/** Most relaunches that a budget can allow. */
export const MOST_RELAUNCHES = 10_000;

/** Relaunches allowed per failure class. */
export const attemptBudgetsSchema = z
  .record(
    z.enum(FAILURE_CLASSES),
    z.int().nonnegative().max(MOST_RELAUNCHES).describe('Relaunches for this class'),
  )
  .describe('Per failure class, how often a stage is relaunched without progress in between before it parks');
export type AttemptBudgets = Readonly<z.output<typeof attemptBudgetsSchema>>;

/** What the stage does next. */
export type Reaction =
  | { readonly kind: 'relaunch'; readonly waitSeconds: number }
  | { readonly kind: 'park'; readonly why: string };

/** Longest wait before a relaunch: waits of attempts that follow one another in a class double. */
const LONGEST_WAIT_SECONDS = 600;

/**
 * Decides from the attempts since the stage was last started or repaired, newest last.
 * Budgets count relaunches by class since the last progress: a stage that moves on between failures is not stuck.
 */
export function reactTo(attempts: readonly AttemptRecord[], budgets: AttemptBudgets): Reaction {
  const last = attempts.at(-1);
  if (last === undefined) return { kind: 'relaunch', waitSeconds: 0 };
  const sinceProgress = attempts.slice(attempts.findLastIndex(isProgress) + 1);
  const ofClass = sinceProgress.filter((attempt) => attempt.class === last.class).length;
  const budget = budgets[last.class];
  if (ofClass > budget || (last.progressed && budget === 0)) {
    return {
      kind: 'park',
      why: `${last.class}: the allowance of relaunches without progress (${budget}) is used up`,
    };
  }
  const same = sinceProgress.filter((attempt) => attempt.signature === last.signature).length;
  if (same > 1 && !FAILURES[last.class].mayRecur) {
    return {
      kind: 'park',
      why: `${last.class}: the same failure came again without a new commit in between`,
    };
  }
  return { kind: 'relaunch', waitSeconds: waitSeconds(last.class, ofClass) };
}

/**
 * Whether an attempt got the stage on. One that broke its loss did not: the steps it left out are committed too, and would let a
 * stage that breaks everywhere skip its way to the end.
 */
function isProgress(attempt: AttemptRecord): boolean {
  return attempt.progressed && attempt.class !== 'numerics';
}

/** What a stage may use up without a new commit, whatever ended its attempts: preemptions too. */
export interface CommitAllowance {
  readonly attempts: number;
  readonly gpuHours: number;
}

/** Why a stage has used up too much without a commit; null: it has not. `used`: since the newest commit or sample. */
export function allowanceProblem(used: CommitAllowance, allowed: CommitAllowance): string | null {
  if (used.attempts <= allowed.attempts && used.gpuHours <= allowed.gpuHours) return null;
  const hours = (value: number) => `${Number(value.toPrecision(3))} GPU hours`;
  return (
    `${used.attempts} attempts and ${hours(used.gpuHours)} brought no new commit; ` +
    `${allowed.attempts} attempts and ${hours(allowed.gpuHours)} are allowed`
  );
}

/** So many failures that may be its fault, and a node is avoided; one is enough that can be nothing else's fault. */
const FAILURES_OF_A_BAD_NODE = 2;

/** Nodes on which attempts have failed too often to try them again. */
export function nodesToAvoid(attempts: readonly AttemptRecord[]): string[] {
  const failures = new Map<string, number>();
  for (const { node, class: failureClass, signature } of attempts) {
    if (node === null || !FAILURES[failureClass].mayBeNodes) continue;
    const weight = isCertainlyOfNode(signature) ? FAILURES_OF_A_BAD_NODE : 1;
    failures.set(node, (failures.get(node) ?? 0) + weight);
  }
  return [...failures].filter(([, count]) => count >= FAILURES_OF_A_BAD_NODE).map(([node]) => node);
}

/** Attempts that the policy still looks at: those since the newest progress, and what the nodes' records need. */
export function relevantAttempts(attempts: readonly AttemptRecord[]): AttemptRecord[] {
  const newestProgress = attempts.findLastIndex(isProgress);
  return attempts.filter(
    ({ node, class: failureClass }, index) =>
      index >= newestProgress || (node !== null && FAILURES[failureClass].mayBeNodes),
  );
}

function waitSeconds(failureClass: FailureClass, consecutive: number): number {
  const { firstWaitSeconds } = FAILURES[failureClass];
  return Math.min(LONGEST_WAIT_SECONDS, firstWaitSeconds * 2 ** Math.max(0, consecutive - 1));
}
