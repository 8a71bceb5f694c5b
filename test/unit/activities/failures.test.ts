/** Which trouble of an activity is tried again without end, and what becomes of everything else. */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { refusing } from '../../../activities/lib/failures.js';
import { signalWorkflow } from '../../../activities/lib/signal.js';
import { SIGNALS } from '../../../src/domain/run/messages.js';
import { StoreError } from '../../../src/store/errors.js';

/** A try by which trouble counts as lasting. */
const LATE_TRY = 8;
const ENDLESS_TRY = 10_000;

/** What an activity of a run of its own throws in its nth try, when its work throws this. */
async function thrownOf(error: unknown, attempt: number, runId: string = randomUUID()): Promise<unknown> {
  const environment = new MockActivityEnvironment({
    attempt,
    workflowExecution: { workflowId: 'r', runId },
  });
  const failing = vi.fn<() => Promise<never>>().mockRejectedValue(error);
  return environment.run(() => refusing(failing)).catch((thrown: unknown) => thrown);
}

function refusal(thrown: unknown): ApplicationFailure {
  if (!(thrown instanceof ApplicationFailure)) throw new Error(`not refused: ${String(thrown)}`);
  expect(thrown.nonRetryable).toBe(true);
  return thrown;
}

const grpcError = (code: number, details: string) =>
  Object.assign(new Error(`${code}: ${details}`), { code, details, metadata: {} });

describe('what is known to pass is tried again without end', () => {
  const passing: readonly (readonly [string, Error])[] = [
    ['a store without an answer', new StoreError('unavailable', 's3://b/k', 'the store answered 503')],
    [
      'a refused connection, as the cause of something else',
      new TypeError('fetch failed', {
        cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
      }),
    ],
    [
      'a name that is not known at the moment',
      Object.assign(new Error('getaddrinfo'), { code: 'EAI_AGAIN', syscall: 'getaddrinfo' }),
    ],
    ['Temporal without an answer', grpcError(14, 'unavailable')],
    ['Temporal that is busy', grpcError(8, 'too many requests')],
    ['a cancellation', new CancelledFailure('cancelled')],
    ['what is to be tried again by another worker', ApplicationFailure.create({ message: 'left' })],
  ];

  it.each(passing)('%s', async (_, error) => {
    expect(await thrownOf(error, ENDLESS_TRY)).toBe(error);
  });
});

describe('anything else is final after eight tries', () => {
  const others: readonly (readonly [string, unknown, string])[] = [
    ['a plain error', new Error('a tokenizer of an unknown type'), 'unknown'],
    ['an error with a cause', new Error('odd', { cause: new Error('odder') }), 'unknown'],
    ['no error at all', 'just a text', 'unknown'],
    ['a mistake of the program', new TypeError('no such method'), 'unknown'],
    ['a message over the limit', grpcError(8, 'Received message larger than max (5 vs 4)'), 'unknown'],
    ['a refused permission', grpcError(7, 'denied'), 'unknown'],
    [
      'a full disk',
      Object.assign(new Error('no space left'), { code: 'ENOSPC', syscall: 'write' }),
      'infrastructure',
    ],
    ['a store that refuses', new StoreError('refused', 's3://b/k', 'the store answered 418'), 'store'],
  ];

  it.each(others)('%s', async (_, error, type) => {
    expect(await thrownOf(error, LATE_TRY - 1)).not.toMatchObject({ nonRetryable: true });
    const failure = refusal(await thrownOf(error, LATE_TRY));
    expect(failure.type).toBe(type);
    expect(failure.message).toContain('What can be done:');
  });

  it('an unreadable folder, as the operating system tells of it', async () => {
    const error: unknown = await readFile('/proc/self').catch((caught: unknown) => caught);
    expect(refusal(await thrownOf(error, LATE_TRY)).type).toBe('infrastructure');
  });

  it('and tries that an outage has used up are none of the eight', async () => {
    const runId = randomUUID();
    const outage = new StoreError('unavailable', 's3://b/k', 'the store answered 503');
    for (let attempt = 1; attempt <= 50; attempt += 1) await thrownOf(outage, attempt, runId);
    const odd = new Error('odd');
    for (let attempt = 51; attempt < 50 + LATE_TRY; attempt += 1) {
      expect(await thrownOf(odd, attempt, runId)).toBe(odd);
    }
    refusal(await thrownOf(odd, 50 + LATE_TRY, runId));
  });
});

describe('a failure says no more than Temporal takes', () => {
  const SIZE = 5_000_000;

  it('keeps head and tail of a message, in the first try as in the last', async () => {
    const error = new Error(`head${'x'.repeat(SIZE)}tail`);
    for (const attempt of [1, LATE_TRY]) {
      const failure = await thrownOf(error, attempt);
      if (!(failure instanceof Error)) throw new Error('nothing was thrown');
      const { message, stack = '' } = failure;
      expect(message.length + stack.length).toBeLessThan(45_000);
      expect(message).toMatch(/head.* characters left out .*tail/);
    }
  });

  it('cuts what was given as a cause, and a class stays as it was', async () => {
    const cause = new Error('y'.repeat(SIZE));
    const failure = ApplicationFailure.create({ type: 'data', nonRetryable: true, message: 'bad', cause });
    const thrown = refusal(await thrownOf(failure, 1));
    expect(thrown).toMatchObject({ type: 'data', message: 'bad' });
    expect(thrown.cause).toBeUndefined();
  });

  it('sends no half of a character, which the server would refuse', async () => {
    expect(await thrownOf(new Error('a\ud800b'), 1)).toMatchObject({ message: 'a\ufffdb' });
  });
});

describe('a result that Temporal would not take', () => {
  const resultOf = (result: unknown) =>
    new MockActivityEnvironment({ activityType: 'stageHistory' })
      .run(() => refusing(() => Promise.resolve(result)))
      .catch((thrown: unknown) => thrown);

  it('is one clear failure at once, which names the activity and how much it was', async () => {
    const { type, message } = refusal(await resultOf({ text: 'x'.repeat(2_000_000) }));
    expect(type).toBe('unknown');
    expect(message).toContain('the result of stageHistory is too large: 2000011 bytes as JSON');
    expect(message).toContain('What can be done:');
  });

  it('counts bytes, and not characters', async () => {
    refusal(await resultOf('\u20ac'.repeat(700_000)));
  });

  it.each([[undefined], [null], [[]], ['x'.repeat(1_999_998)]])('and nothing else is', async (result) => {
    expect(await resultOf(result)).toEqual(result);
  });
});

describe('a signal that Temporal would not take', () => {
  it('is an error that names the activity and the signal', async () => {
    const environment = new MockActivityEnvironment({ activityType: 'runAttempt' });
    const large = { ...SIGNALS.progress, payload: z.string() };
    const sent = environment.run(() => signalWorkflow(Context.current(), large, 'x'.repeat(3_000_000)));
    await expect(sent).rejects.toThrow('the signal progress of runAttempt is too large: 3000002 bytes');
  });
});
