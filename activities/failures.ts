/** What an activity's trouble means to its workflow: it is tried again, or, where waiting changes nothing, a failure of its class. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { AssertionError } from 'node:assert';
import { z } from 'zod';
import type { FailureClass } from '../src/domain/failure-class.js';
import { STORE_ANSWERS } from '../src/store/answers.js';
import { isStoreError } from '../src/store/errors.js';
import type { StoreError } from '../src/store/errors.js';

/**
 * Tries after which trouble counts as lasting that might be one worker's, or of the moment: credentials that are just being
 * renewed, a worker of another version. By then, as the workflows set their retries, ten seconds and more have passed.
 */
const LASTING_TRIES = 8;

/** A class, and what an operator can do about it. */
interface Refusal {
  readonly class: FailureClass;
  readonly remedy: string;
  /** Whether one try is enough to tell. */
  readonly certain: boolean;
}

/**
 * Does an activity's work. Outages of the store, and whatever else passes, are thrown as they are, to be retried.
 * @throws ApplicationFailure, not to be retried, of a failure class, when another try would end in the same way: its
 * message says what is wrong and what can be done.
 */
export async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asFailure(error);
  }
}

function asFailure(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const refusal = refusalOf(error);
  const { info, log } = Context.current();
  if (refusal === null || (!refusal.certain && info.attempt < LASTING_TRIES)) return error;
  const message = `${nameOf(error)}${error.message}. What can be done: ${refusal.remedy}`;
  log.error('this activity cannot go on', { class: refusal.class, stack: error.stack ?? '' });
  // Without the cause: people are shown the innermost message, and this one says more.
  return ApplicationFailure.create({ type: refusal.class, nonRetryable: true, message });
}

function refusalOf(error: Error): Refusal | null {
  if (isStoreError(error)) return refusalOfStore(error);
  if (!isMistake(error)) return null;
  const remedy =
    "this is a mistake in Longhaul, not in the run; the worker's log has the place: mend or replace the worker, then retry";
  return { class: 'unknown', remedy, certain: false };
}

function refusalOfStore({ code, url, remedy }: StoreError): Refusal | null {
  if (code === 'unavailable') return null;
  if (code === 'invalid-object') return { ...refusalOfObject(url, remedy), certain: true };
  return { class: STORE_ANSWERS.classes[code].failure, remedy, certain: false };
}

function refusalOfObject(url: string, restore: string): Pick<Refusal, 'class' | 'remedy'> {
  if (url.endsWith('/HEAD')) {
    const why = 'without HEAD nothing says which checkpoint counts, and none is guessed';
    return { class: 'checkpoint', remedy: `${restore}; ${why}` };
  }
  if (url.includes('/checkpoints/'))
    return { class: 'checkpoint', remedy: `${restore}, or retry from another checkpoint` };
  return { class: 'store', remedy: restore };
}

/**
 * Whether the program itself is wrong. Not meant: what the AWS SDK throws over an answer that it can't read, and what carries a
 * cause, as a failed connection does.
 */
function isMistake(error: Error): boolean {
  if (error.cause !== undefined || '$metadata' in error || '$response' in error) return false;
  const kinds = [TypeError, RangeError, ReferenceError, SyntaxError, AssertionError, z.ZodError];
  return kinds.some((kind) => error instanceof kind);
}

function nameOf(error: Error): string {
  return isStoreError(error) ? '' : `${error.name}: `;
}
