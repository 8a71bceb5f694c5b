import { describe, expect, it } from 'vitest';
import {
  NO_FACTS,
  factsOf,
  factsWith,
  hasProgressed,
  recordedSamples,
  stepReached,
} from '../../../src/domain/attempt/facts.js';
import type { AttemptEvent } from '../../../src/domain/attempt/facts.js';
import { ProgressTracker } from '../../../src/domain/run/progress.js';

const at = '2026-01-01T00:00:00.000Z';
const step = (number: number, seconds = 2): AttemptEvent => ({
  type: 'step',
  step: number,
  tokens: number * 1000,
  loss: 5 - number,
  learningRate: 1e-3,
  seconds,
});
const digest = `sha256:${'a'.repeat(64)}`;
const TRAINING: readonly AttemptEvent[] = [
  { type: 'phase', phase: 'load' },
  step(1, 9),
  { type: 'commit', at, commit: 'older', step: 1 },
  step(2),
  { type: 'log', at, level: 'info', message: 'going on' },
  { type: 'phase', phase: 'save' },
  { type: 'commit', at, commit: 'newer', step: 2, manifestDigest: digest },
];

describe('what a job’s events tell of its attempt', () => {
  it('is the newest step, all commits and the seconds of all steps', () => {
    expect(factsOf(TRAINING)).toEqual({
      phase: 'save',
      step: 2,
      tokens: 2000,
      loss: 3,
      learningRate: 1e-3,
      stepSeconds: 11,
      samples: 0,
      totalSamples: null,
      commits: [
        { id: 'older', step: 1 },
        { id: 'newer', step: 2, manifestDigest: digest },
      ],
    });
  });

  it('is nothing before the first', () => {
    expect(factsOf([])).toBe(NO_FACTS);
  });

  it('is the same event by event, as a watcher reads them, and all at once, as whoever comes later does', () => {
    const tracker = new ProgressTracker(3, 10);
    TRAINING.forEach((event) => tracker.add(event));
    expect(tracker.facts).toEqual(factsOf(TRAINING));
    expect(tracker.progress).toMatchObject({ epoch: 3, phase: 'save', step: 2, steps: 10, commit: 'newer' });
  });

  it('counts an evaluation in samples', () => {
    const facts = factsWith(factsOf([]), { type: 'sample', at, done: 40, total: 100 });
    expect(facts).toMatchObject({ samples: 40, totalSamples: 100 });
    expect(stepReached(facts)).toBe(40);
    expect(stepReached(factsOf(TRAINING))).toBe(2);
  });
});

describe('an attempt has got its stage on', () => {
  it('once it has committed, or finished a sample', () => {
    expect(hasProgressed([], 0)).toBe(false);
    expect(hasProgressed(['a commit'], 0)).toBe(true);
    expect(hasProgressed([], 1)).toBe(true);
  });

  it('by its record too: only an evaluation has steps and no tokens', () => {
    expect(recordedSamples({ step: 7, tokens: 0 })).toBe(7);
    expect(recordedSamples({ step: 7, tokens: 7000 })).toBe(0);
  });
});
