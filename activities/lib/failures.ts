/** What an activity's trouble means to its workflow: it is tried again, or, where waiting changes nothing, a failure of its class. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { TemporalFailure } from '@temporalio/common';
import { AssertionError } from 'node:assert';
import { z } from 'zod';
import type { FailureClass } from '../../src/domain/attempt/failure-class.js';
import { FAILURE_CHARACTERS, wellFormed, withinLimit } from '../../src/domain/lib/text.js';
import { STORE_ANSWERS } from '../../src/store/answers.js';
import { isStoreError } from '../../src/store/errors.js';
import type { StoreError } from '../../src/store/errors.js';
import { causesOf, isKnownToPass } from './known-to-pass.js';
import { PassedTries } from './passed-tries.js';
import { tooLarge } from './sizes.js';

/**
 * Tries after which trouble counts as lasting that might be one worker's, or of the moment: credentials that are just being
 * renewed, a worker of another version. By then, as the workflows set their retries, ten seconds and more have passed. Tries that
 * ended with what is known to pass don't count, as far as this worker has made them: an outage leaves none of them used up.
 */
const LASTING_TRIES = 8;
const passed = new PassedTries();

/** Most characters of a message or a stack that Temporal is given: room for every problem of a recipe that is told. */
const LONGEST_TEXT = 20_000;

/** A class, and what an operator can do about it. */
interface Refusal {
  readonly class: FailureClass;
  readonly remedy: string;
  /** Whether one try is enough to tell. */
  readonly certain: boolean;
}

/**
 * Does an activity's work. Only what is known to pass, an outage of the store or of Temporal, is tried again without end; anything
 * else a few times, and then it is final, so that it is seen. What is thrown is bounded, and valid text.
 * @throws ApplicationFailure, not to be retried, of a failure class, when another try would end in the same way: its
 * message says what is wrong and what can be done. A result that Temporal would not take is such a failure.
 */
export async function refusing<T>(work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    throw bounded(asFailure(error));
  }
  passed.forget(Context.current().info);
  refuseTooLarge(result);
  return result;
}

/** The server would not say whose result it was, or would not read it, and the activity would be tried without end. */
function refuseTooLarge(result: unknown): void {
  const { activityType } = Context.current().info;
  const problem = tooLarge(`the result of ${activityType}`, result);
  if (problem === null) return;
  const message = `${problem}. What can be done: what it has read says too much; see what that is, then retry`;
  throw ApplicationFailure.create({ type: 'unknown', nonRetryable: true, message });
}

function asFailure(thrown: unknown): Error {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { info, log } = Context.current();
  const refusal = refusalOf(error);
  if (refusal === null) {
    passed.add(info);
    return error;
  }
  if (!refusal.certain && info.attempt - passed.of(info) < LASTING_TRIES) return error;
  passed.forget(info);
  const what = withinLimit(`${nameOf(error)}${error.message}`, FAILURE_CHARACTERS);
  log.error('this activity cannot go on', { class: refusal.class, stack: error.stack ?? '' });
  // Without the cause: people are shown the innermost message, and this one says more.
  const message = `${what}. What can be done: ${refusal.remedy}`;
  return ApplicationFailure.create({ type: refusal.class, nonRetryable: true, message });
}

/** What is to be said of an error in the end; null: it is known to pass, or says itself what it is. */
function refusalOf(error: Error): Refusal | null {
  if (isStoreError(error)) return refusalOfStore(error);
  if (error instanceof TemporalFailure || isKnownToPass(error)) return null;
  if (isMistake(error)) {
    const remedy =
      "this is a mistake in Longhaul, not in the run; the worker's log has the place: mend or replace the worker, then retry";
    return { class: 'unknown', remedy, certain: false };
  }
  if (isOfTheMachine(error)) {
    const remedy = "see to the worker's machine: its disk, files, memory and their limits; then retry";
    return { class: 'infrastructure', remedy, certain: false };
  }
  const remedy = "the worker's log has the place: mend what it names, then retry";
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

/** Whether the program itself is wrong. */
function isMistake(error: Error): boolean {
  const kinds = [TypeError, RangeError, ReferenceError, SyntaxError, AssertionError, z.ZodError];
  return kinds.some((kind) => error instanceof kind);
}

/** Whether the operating system has refused something, by its own code. */
function isOfTheMachine(error: Error): boolean {
  return 'syscall' in error && 'code' in error && typeof error.code === 'string';
}

/** The error itself, or what can be told of one that says too much: Temporal would not take it, and lose the answer. */
function bounded(error: Error): Error {
  const texts = causesOf(error).flatMap(({ message, stack }) => [message, stack ?? '']);
  if (texts.every((text) => text.length <= LONGEST_TEXT && text === wellFormed(text))) return error;
  const isFailure = error instanceof ApplicationFailure;
  return ApplicationFailure.create({
    type: isFailure ? (error.type ?? error.name) : error.name,
    nonRetryable: isFailure && error.nonRetryable === true,
    message: withinLimit(error.message, LONGEST_TEXT),
  });
}

function nameOf(error: Error): string {
  return isStoreError(error) ? '' : `${error.name}: `;
}
