/**
 * Why a job ended, from the evidence there is, in the order in which it is to be believed. Whoever saw the end, the attempt's own
 * watcher, the attempt after it or the janitor: the same evidence gives the same verdict.
 */
import { FAILURES, FAILURE_CLASSES } from './failure-class.js';
import type { FailureClass } from './failure-class.js';
import { FAILURE_CHARACTERS, withinLimit } from '../lib/text.js';

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

/** Why somebody stopped a job. `stop`: for good, by what became of its activity; `detach`: left to another observer. */
export type StopReason =
  | { readonly kind: 'stop'; readonly why: 'cancelled' | 'paused' | 'closed' | 'worker-shutdown' }
  | { readonly kind: 'detach'; readonly why: 'superseded' | 'worker-shutdown' }
  /** The watchdog's doing. `why`: in its words. */
  | { readonly kind: 'hang'; readonly why: string; readonly phase: string }
  /** It could not be followed any further. */
  | { readonly kind: 'refused' }
  /** Nobody answered for it any more. `why`: how that is known. */
  | { readonly kind: 'orphan'; readonly why: string };

/** Evidence of a job that ended without a result. */
export interface EndEvidence {
  /** null: nobody stopped it that is known of. */
  readonly stop: StopReason | null;
  readonly reason?: SchedulerReason | undefined;
  /** null: the job died without one. */
  readonly outcome: EndedOutcome | null;
  /** null: nobody saw the job end. */
  readonly exitCode: number | null;
  /** Lines of the job's log, newest last: what a trainer that could write no outcome said in the end stands there. */
  readonly logTail?: readonly string[] | undefined;
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

/** What is recorded of an attempt that has its result, whoever stopped its job afterwards. */
export const DONE = { class: 'done', message: '', signature: '' } as const;

/** Of an attempt whose workflow wanted its end. */
export const STOPPED_AS_ASKED: EndVerdict = {
  class: 'cancelled',
  message: 'the job was stopped as asked',
  signature: 'cancelled',
};

/** Most characters of a signature: a stage carries those of many attempts. */
const SIGNATURE_CHARACTERS = 1000;

/**
 * Why an attempt ended without a result. Who stopped the job comes first: whoever did knows why. What jobs say of themselves is kept
 * within limits; signatures that were equal still are.
 */
export function verdictOf(evidence: EndEvidence): EndVerdict {
  return boundedVerdict(wholeVerdictOf(evidence));
}

/** A verdict without what is too much of it. */
export function boundedVerdict<T extends Pick<EndVerdict, 'message' | 'signature'>>(verdict: T): T {
  return {
    ...verdict,
    message: withinLimit(verdict.message, FAILURE_CHARACTERS),
    signature: withinLimit(verdict.signature, SIGNATURE_CHARACTERS),
  };
}

function wholeVerdictOf(evidence: EndEvidence): EndVerdict {
  const { stop, outcome } = evidence;
  const stopped = stop === null ? null : verdictOfStop(stop, evidence);
  if (stopped !== null) return stopped;
  if (outcome?.class === 'cancelled') {
    // Only a job that reads an expired lease says this by itself: nobody has asked for its end.
    return { class: 'infrastructure', message: outcome.message, signature: 'lease' };
  }
  return classifyEnd(evidence);
}

/** null: the stop alone says nothing about the attempt, whose activity goes on elsewhere. */
function verdictOfStop(stop: StopReason, evidence: EndEvidence): EndVerdict | null {
  switch (stop.kind) {
    case 'hang': {
      // A job that stood still because the store refused it says so in its own end.
      const said = evidence.outcome?.message ?? lastWords(evidence.logTail ?? []) ?? '';
      const tellsMore = said !== '' && !/^stopped by SIG\w+$/.test(said);
      const message = tellsMore ? `${stop.why}. What the job said in the end: ${said}` : stop.why;
      return { class: 'hang', message, signature: `hang|${stop.phase}` };
    }
    case 'orphan':
      return { class: 'cancelled', message: stop.why, signature: 'orphan' };
    case 'stop':
      if (stop.why === 'cancelled') return STOPPED_AS_ASKED;
      // What was stopped with its workflow has not failed.
      return stop.why === 'closed'
        ? { class: 'cancelled', message: 'its workflow is closed', signature: 'orphan' }
        : null;
    case 'detach':
    case 'refused':
      return null;
  }
}

/** What a reader of the ledger should know of a stop beside the class. */
export function stopNote(stop: StopReason | null): string {
  if (stop?.kind === 'hang') return 'stopped by the watchdog';
  return stop?.kind === 'stop' ? STOP_NOTES[stop.why] : '';
}

const STOP_NOTES = {
  cancelled: 'stopped by a pause, an abort or a cancellation of the workflow',
  paused: 'the activity was paused from the Temporal UI or its command line',
  closed: 'the workflow was closed while its job ran',
  'worker-shutdown': 'stopped with the worker that watched it',
} as const;

/** Decides the class of a job that nobody stopped: the scheduler's word, the outcome, the exit code. */
function classifyEnd(evidence: EndEvidence): EndVerdict {
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
  const known = FAILURE_CLASSES.find((one) => FAILURES[one].exitCode === exitCode);
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
function lastWords(logTail: readonly string[]): string | null {
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
