import { describe, expect, it } from 'vitest';
import { FAULT_KINDS, faultSchedule, uniform } from '../../../src/drill/schedule.js';
import { possibleKinds } from '../../../src/drill/inject.js';
import type { Backend } from '../../../src/backends/backend.js';
import { LocalBackend } from '../../../src/backends/local/local.js';

const options = {
  seed: 7,
  faults: 2000,
  kinds: FAULT_KINDS,
  mostCommits: 3,
  meanSeconds: 10,
  longestFreezeSeconds: 3,
};

describe('a schedule of faults', () => {
  it('follows from its seed, fault by fault', () => {
    expect(faultSchedule(options)).toEqual(faultSchedule(options));
    expect(faultSchedule({ ...options, faults: 5 })).toEqual(faultSchedule(options).slice(0, 5));
    expect(faultSchedule({ ...options, seed: 8 })).not.toEqual(faultSchedule(options));
  });

  it('draws every kind about as often, commits evenly from 0, and times without memory', () => {
    const schedule = faultSchedule(options);
    for (const kind of FAULT_KINDS) {
      expect(schedule.filter((fault) => fault.kind === kind).length / 2000).toBeCloseTo(
        1 / FAULT_KINDS.length,
        1,
      );
    }
    expect(new Set(schedule.map(({ afterCommits }) => afterCommits))).toEqual(new Set([0, 1, 2, 3]));
    const seconds = schedule.map(({ afterSeconds }) => afterSeconds);
    const mean = seconds.reduce((sum, value) => sum + value, 0) / seconds.length;
    expect(Math.abs(mean - 10)).toBeLessThan(1);
    // Of an exponential distribution, 1/e lies above the mean.
    expect(seconds.filter((value) => value > 10).length / 2000).toBeCloseTo(Math.exp(-1), 1);
    expect(Math.max(...schedule.map(({ frozenSeconds }) => frozenSeconds))).toBeLessThan(3);
  });

  it('needs a kind to draw from', () => {
    expect(() => faultSchedule({ ...options, kinds: [] })).toThrow('at least one kind');
    expect(faultSchedule({ ...options, kinds: [], faults: 0 })).toEqual([]);
  });

  it('draws numbers from 0 to below 1', () => {
    const drawn = Array.from({ length: 1000 }, (_, index) => uniform(`${index}`));
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...drawn)).toBeLessThan(1);
  });
});

describe('what can be brought about', () => {
  const local = new LocalBackend('/nowhere');

  it('depends on what the backend can do, and on whose the worker is', () => {
    const worker = { restart: () => Promise.resolve() };
    expect(possibleKinds({ backend: local, worker }, FAULT_KINDS)).toEqual([...FAULT_KINDS]);
    expect(possibleKinds({ backend: local, worker: null }, FAULT_KINDS)).toEqual([
      'preempt',
      'kill',
      'freeze',
    ]);
    const other: Backend = {
      submit: () => Promise.resolve('started'),
      observe: () => Promise.resolve({ state: 'absent' }),
      terminate: () => Promise.resolve(),
      logs: () => Promise.resolve([]),
      list: () => Promise.resolve([]),
      labels: () => Promise.resolve({}),
    };
    expect(possibleKinds({ backend: other, worker: null }, FAULT_KINDS)).toEqual(['preempt', 'kill']);
  });
});
