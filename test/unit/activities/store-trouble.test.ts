import { describe, expect, it } from 'vitest';
import { StoreTrouble } from '../../../activities/attempt/store-trouble.js';
import { StoreError } from '../../../src/store/errors.js';

const START = Date.parse('2026-01-01T10:00:00.000Z');
const FULL = new StoreError(
  'unavailable',
  's3://b/lease.json',
  'the store answered 507 InsufficientStorage',
  {
    remedy: 'the store is full: make room or enlarge it',
  },
);
const SAID =
  'the worker waits for the store since 2026-01-01 10:00:00 UTC: the store answered 507 InsufficientStorage. ' +
  'What can be done: the store is full: make room or enlarge it';

/** A watcher's requests, at seconds from the start. */
function watcher() {
  let now = START;
  const trouble = new StoreTrouble(() => now);
  const ask = async (seconds: number, kind: string, answer: () => Promise<unknown>): Promise<void> => {
    now = START + seconds * 1000;
    await trouble.ask(kind, answer).catch(() => undefined);
  };
  const warningAt = (seconds: number): string | null => {
    now = START + seconds * 1000;
    return trouble.warning;
  };
  return { ask, warningAt };
}

const refused = () => Promise.reject(FULL);
const answered = () => Promise.resolve(null);
const silent = () => new Promise<never>(() => undefined);

describe('what a worker that watches a job says of the store', () => {
  it('is nothing of a refusal that is over soon', async () => {
    const { ask, warningAt } = watcher();
    await ask(0, 'lease', refused);
    expect(warningAt(1)).toBeNull();
    await ask(2, 'lease', answered);
    expect(warningAt(10)).toBeNull();
  });

  it('is since when it refuses, and what it says, in the same words for as long as that lasts', async () => {
    const { ask, warningAt } = watcher();
    for (const seconds of [0, 5, 10, 600]) {
      await ask(seconds, 'lease', refused);
      // A full store reads on: that says nothing about writes.
      await ask(seconds + 1, 'events', answered);
      if (seconds > 0) expect(warningAt(seconds + 2)).toBe(SAID);
    }
    await ask(605, 'lease', answered);
    expect(warningAt(606)).toBeNull();
  });

  it('is that it does not answer, once that takes long', () => {
    const { ask, warningAt } = watcher();
    void ask(0, 'events', silent);
    expect(warningAt(5)).toBeNull();
    expect(warningAt(20)).toMatch(/since 2026-01-01 10:00:00 UTC: it has not answered$/);
  });

  it('is nothing of errors that end the watch anyway', async () => {
    const { ask, warningAt } = watcher();
    await ask(0, 'lease', () => Promise.reject(new StoreError('access-denied', 's3://b/lease.json', 'no')));
    expect(warningAt(60)).toBeNull();
  });
});
