/** Work that takes much of a machine is done by a few at a time. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Places } from '../../../activities/lib/places.js';

const NEVER = new AbortController().signal;

/** Work that lasts until it is told to end. */
function work() {
  let end = (): void => undefined;
  const over = new Promise<void>((resolve) => (end = resolve));
  return { over, end: () => end() };
}

describe('of a number of places', () => {
  it.each([1, 2, 3])('%i: no more work goes on at a time, in the order in which it came', async (count) => {
    const places = new Places(count);
    const begun: number[] = [];
    const all = Array.from({ length: 7 }, work);
    const done = all.map(({ over }, index) =>
      places.in(NEVER, () => {
        begun.push(index);
        return over;
      }),
    );
    for (const [index, { end }] of all.entries()) {
      await turn();
      expect(begun).toEqual(Array.from({ length: Math.min(index + count, 7) }, (_, one) => one));
      end();
    }
    await Promise.all(done);
  });

  it('one is given back by work that fails', async () => {
    const places = new Places(1);
    await expect(places.in(NEVER, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await places.in(NEVER, () => Promise.resolve('next'))).toBe('next');
  });

  it('none is kept for who has gone from the line', async () => {
    const places = new Places(1);
    const [first, leaving] = [work(), new AbortController()];
    const done = places.in(NEVER, () => first.over);
    const left = places.in(leaving.signal, () => Promise.resolve('too late'));
    const next = places.in(NEVER, () => Promise.resolve('next'));
    leaving.abort(new Error('cancelled'));
    await expect(left).rejects.toThrow('cancelled');
    first.end();
    await done;
    expect(await next).toBe('next');
  });
});
