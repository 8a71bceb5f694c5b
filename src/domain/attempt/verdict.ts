/** Why a job ended, from the evidence there is, in the order in which it is to be believed. */
import { FAILURE_CLASSES } from './failure-class.js';
import type { FailureClass } from './failure-class.js';

/** What the scheduler says. */
export type SchedulerReason = 'preempted' | 'walltime' | 'out-of-memory' | 'node-failure';

/** What a trainer says in its outcome, when it did not finish. */
export interface EndedOutcome {
  readonly class: FailureClass;
  readonly message: string;
  readonly exception: string;
  readonly frames: readonly string[];
  /** Last optimizer step done. */
  readonly step: number;
}

/** Evidence of a job that ended without a result. */
export interface EndEvidence {
  readonly reason?: SchedulerReason | undefined;
  /** null: the job died without one. */
  readonly outcome: EndedOutcome | null;
  /** null: nobody saw the job end. */
  readonly exitCode: number | null;
  /** Lines of the job's log, newest last: what a trainer that could write no outcome said in the end stands there. */
  readonly logTail?: readonly string[] | undefined;
  /** Exit code of each class that the trainer's wrapper maps its outcome to. */
  readonly exitCodes: Readonly<Record<FailureClass, number>>;
}

/** The verdict. */
export interface EndVerdict {
  readonly class: FailureClass;
  readonly message: string;
  /** Equal signatures are the same failure again. */
  readonly signature: string;
}

const BY_REASON: Readonly<Record<SchedulerReason, FailureClass>> = {
  preempted: 'preempted',
  walltime: 'walltime',
  'out-of-memory': 'out-of-memory',
  'node-failure': 'infrastructure',
};

/** Decides the class of an ended job: the scheduler's word, the outcome, the exit code. */
export function classifyEnd(evidence: EndEvidence): EndVerdict {
  const { reason, outcome, exitCode } = evidence;
  if (reason !== undefined) {
    return {
      class: BY_REASON[reason],
      message: `the scheduler says: ${reason}`,
      signature: `scheduler:${reason}`,
    };
  }
  if (outcome !== null) {
    const signature = [outcome.class, ...whereOf(outcome), outcome.exception, ...outcome.frames].join('|');
    return { class: outcome.class, message: outcome.message, signature };
  }
  if (exitCode === null) {
    const message = 'the job is gone and left neither an outcome nor an exit code';
    return { class: 'infrastructure', message, signature: 'gone' };
  }
  const known = FAILURE_CLASSES.find((one) => evidence.exitCodes[one] === exitCode);
  const words = lastWords(evidence.logTail ?? []);
  const message = `the job ended with exit code ${exitCode} and left no outcome${words === null ? '' : `: ${words}`}`;
  return {
    class: known ?? 'unknown',
    message,
    signature: `exit:${exitCode}${isOfClock(words) ? CLOCK : ''}`,
  };
}

/** How the trainer's wrapper marks what it says itself. */
const OWN_WORDS = 'longhaul: ';
const LONGEST_WORDS = 1000;

/** What the trainer's wrapper said last, null: nothing. */
export function lastWords(logTail: readonly string[]): string | null {
  const line = logTail.findLast((one) => one.startsWith(OWN_WORDS));
  return line === undefined ? null : line.slice(OWN_WORDS.length).slice(0, LONGEST_WORDS);
}

/** End of the signature of a job that a wrong clock has ended, beside the name of the trainer's own exception for it. */
const CLOCK = '|clock';

function isOfClock(words: string | null): boolean {
  return words !== null && /\b(RequestTimeTooSkewed|RequestExpired)\b/.test(words);
}

/** Whether a failure with this signature is for certain its node's: one is enough to avoid it. */
export function isCertainlyOfNode(signature: string): boolean {
  return signature.endsWith(CLOCK) || /\bClockError\b/.test(signature);
}

/** A loss that breaks at another step is another failure: what broke it before was left out. */
function whereOf({ class: failureClass, step }: EndedOutcome): string[] {
  return failureClass === 'numerics' ? [`step ${step}`] : [];
}
