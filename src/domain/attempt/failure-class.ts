/**
 * Failure classes: why an attempt ended. Each is a Temporal failure type. What is said and done about each stands in one table, from
 * which budgets, exit codes, reactions, the operators' texts and the tables in docs/ follow.
 */
import { keysOf } from '../lib/record.js';

/** What is said and done about a class. */
export interface FailureRules {
  /** Exit code that the trainer's wrapper maps an outcome of the class to. The trainer has its own copy. */
  readonly exitCode: number;
  /** Relaunches without progress in between before the stage parks, where the recipe says nothing else. */
  readonly relaunches: number;
  /** Wait before the first relaunch, seconds; doubles with each in a row. */
  readonly firstWaitSeconds: number;
  /** Whether it may come again with the same signature and without a commit: the world's doing, not the job's. */
  readonly mayRecur: boolean;
  /** Whether it tells how often the world interrupts this job. */
  readonly isInterruption: boolean;
  /** Whether it may be the fault of the node it happened on. */
  readonly mayBeNodes: boolean;
  /** Whether somebody should look: a preemption is no failure. */
  readonly isFailure: boolean;
  /** What a job says by it. */
  readonly meaning: string;
  /** What happens then besides relaunching or parking; empty: nothing. */
  readonly besides: string;
  /** What an operator of a stage that has parked with it can do, as a rule. */
  readonly remedy: string;
}

const USUAL = {
  firstWaitSeconds: 0,
  mayRecur: false,
  isInterruption: false,
  mayBeNodes: false,
  isFailure: true,
  besides: '',
} as const;

/**
 * Every class. Whoever lends the machine may take it away as often as it likes (`preempted`, `capacity`, `walltime`); a bug gets few
 * tries; what a person asked for or wrote gets none.
 */
export const FAILURES = {
  preempted: {
    ...USUAL,
    exitCode: 75,
    relaunches: 1000,
    mayRecur: true,
    isInterruption: true,
    isFailure: false,
    meaning: 'it stopped because it was told to',
    remedy: 'retry once machines stay for longer',
  },
  capacity: {
    ...USUAL,
    exitCode: 73,
    relaunches: 1000,
    firstWaitSeconds: 5,
    mayRecur: true,
    isInterruption: true,
    isFailure: false,
    meaning: 'there was nothing to run on',
    remedy: 'retry once there are machines',
  },
  infrastructure: {
    ...USUAL,
    exitCode: 70,
    relaunches: 10,
    firstWaitSeconds: 1,
    isInterruption: true,
    mayBeNodes: true,
    meaning: "hardware, driver, disk, or the machine's clock",
    remedy: 'see to the machine that the message is about, then retry',
  },
  store: {
    ...USUAL,
    exitCode: 69,
    relaunches: 20,
    firstWaitSeconds: 2,
    mayRecur: true,
    meaning: 'the store was in trouble, or refused, for longer than the job waits',
    remedy: 'see that the store answers and takes the credentials of jobs and workers, then retry',
  },
  hang: {
    ...USUAL,
    exitCode: 71,
    relaunches: 5,
    mayBeNodes: true,
    meaning: 'it found out itself that it does not advance',
    besides: 'stopped by the step-progress watchdog (`execution.watchdog`)',
    remedy: 'find in the log what it waited for, then retry',
  },
  data: {
    ...USUAL,
    exitCode: 65,
    relaunches: 0,
    meaning: 'the dataset is not what its manifest says',
    remedy: 'restore what the message names, then retry',
  },
  checkpoint: {
    ...USUAL,
    exitCode: 66,
    relaunches: 3,
    meaning: 'no checkpoint verifies, or `HEAD` is missing or unreadable',
    besides:
      "a checkpoint that doesn't verify is quarantined and passed over; the class comes when none verifies",
    remedy: 'retry from another checkpoint, or from zero',
  },
  numerics: {
    ...USUAL,
    exitCode: 67,
    relaunches: 3,
    meaning: 'loss or gradients are not finite, or the loss is a spike',
    besides:
      'back to the newest checkpoint, and the steps from the broken one on are left out (`execution.numerics`), recorded',
    remedy: 'retry from an older checkpoint, or with a lower peak of the learning rate',
  },
  'out-of-memory': {
    ...USUAL,
    exitCode: 68,
    relaunches: 1,
    meaning: 'of the host or of the device',
    remedy: 'retry where there is more memory; less work at a time takes a recipe of its own',
  },
  walltime: {
    ...USUAL,
    exitCode: 72,
    relaunches: 1000,
    meaning: "the scheduler's time limit",
    remedy: "raise the scheduler's limit, or save more often, then retry",
  },
  fenced: {
    ...USUAL,
    exitCode: 76,
    relaunches: 0,
    meaning: 'another attempt has superseded it',
    besides:
      'another workflow has taken the stage over, and one that came back would take it from its successor',
    remedy: 'see who has claimed the stage, and retry only when that workflow is closed',
  },
  cancelled: {
    ...USUAL,
    exitCode: 77,
    relaunches: 0,
    isFailure: false,
    meaning: 'nobody owns the job any more',
    remedy: 'retry if it is still wanted',
  },
  'user-error': {
    ...USUAL,
    exitCode: 64,
    relaunches: 0,
    meaning: "only a person can change it: the spec, an input, the store's address",
    remedy: 'mend what the message names, then retry',
  },
  unknown: {
    ...USUAL,
    exitCode: 1,
    relaunches: 3,
    mayBeNodes: true,
    meaning: '137 alone says nothing: the memory killer and a lost node look alike',
    remedy: 'mend what message and log name, then retry',
  },
} as const satisfies Record<string, FailureRules>;

/** Why an attempt ended. */
export type FailureClass = keyof typeof FAILURES;

/** Every class, in the table's order. */
export const FAILURE_CLASSES: readonly FailureClass[] = keysOf(FAILURES);

/** The class that a failure's type names; `unknown`: it names none. */
export function failureClassOf(type: string | null | undefined): FailureClass {
  return FAILURE_CLASSES.find((one) => one === type) ?? 'unknown';
}
