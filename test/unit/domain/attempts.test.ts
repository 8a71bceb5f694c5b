import { describe, expect, it } from 'vitest';
import {
  allowanceProblem,
  nodesToAvoid,
  reactTo,
  relevantAttempts,
} from '../../../src/domain/attempt/policy.js';
import type { AttemptRecord } from '../../../src/domain/attempt/policy.js';
import type { FailureClass } from '../../../src/domain/attempt/failure-class.js';
import { jobName } from '../../../src/domain/run/names.js';
import { DEFAULT_ATTEMPTS } from '../../../src/domain/recipe/presets/defaults.js';
import { ProgressTracker } from '../../../src/domain/run/progress.js';

function attempts(...list: readonly (readonly [FailureClass, string, boolean?])[]): AttemptRecord[] {
  return list.map(([one, signature, progressed], index) => ({
    epoch: index + 1,
    class: one,
    signature,
    progressed: progressed ?? false,
    step: index,
    node: null,
  }));
}

const react = (list: AttemptRecord[]) => reactTo(list, DEFAULT_ATTEMPTS).kind;

describe('a preemption is not a failure', () => {
  it('is relaunched at once, hundreds of times over, with or without commits', () => {
    const many = attempts(...Array.from({ length: 900 }, () => ['preempted', 'sigterm'] as const));
    expect(reactTo(many, DEFAULT_ATTEMPTS)).toEqual({ kind: 'relaunch', waitSeconds: 0 });
  });

  it('uses up no other class’s budget', () => {
    const preempted = Array.from({ length: 50 }, () => ['preempted', 'sigterm'] as const);
    expect(react(attempts(...preempted, ['unknown', 'exit:137']))).toBe('relaunch');
  });
});

describe('a failure that is not going to go away parks the stage', () => {
  it('parks at once what only people can mend', () => {
    expect(react(attempts(['user-error', 'no such column']))).toBe('park');
    expect(react(attempts(['data', 'bad shard'], ['data', 'bad shard']))).toBe('park');
    expect(react(attempts(['user-error', 'late', true]))).toBe('park');
  });

  it('parks when the same signature comes again without a commit', () => {
    expect(react(attempts(['unknown', 'KeyError'], ['unknown', 'KeyError']))).toBe('park');
    expect(react(attempts(['unknown', 'KeyError'], ['unknown', 'ValueError']))).toBe('relaunch');
    expect(react(attempts(['unknown', 'KeyError', true], ['unknown', 'KeyError']))).toBe('relaunch');
  });

  it('parks when a class’s budget is used up, and counts anew after progress', () => {
    const unknowns = Array.from({ length: 4 }, (_, index) => ['unknown', `error ${index}`] as const);
    expect(react(attempts(...unknowns))).toBe('park');
    expect(
      react(attempts(...unknowns.slice(0, 3), ['unknown', 'error 3', true], ['unknown', 'error 4'])),
    ).toBe('relaunch');
  });

  it('does not let a stage skip its way to the end: broken losses count although steps were committed', () => {
    const broken = Array.from({ length: 4 }, (_, index) => ['numerics', `step ${index}`, true] as const);
    expect(react(attempts(...broken))).toBe('park');
    expect(react(attempts(...broken.slice(1)))).toBe('relaunch');
    const recovered = [...broken.slice(1), ['preempted', 'sigterm', true] as const, ...broken.slice(3)];
    expect(react(attempts(...recovered))).toBe('relaunch');
  });

  it('waits longer each time for capacity and for the store', () => {
    const waits = [1, 2, 3].map((count) => {
      const reaction = reactTo(
        attempts(...Array.from({ length: count }, () => ['store', 'down'] as const)),
        DEFAULT_ATTEMPTS,
      );
      return reaction.kind === 'relaunch' ? reaction.waitSeconds : Infinity;
    });
    expect(waits).toEqual([2, 4, 8]);
  });
});

describe('preemptions cost no bug budget, but not for ever without a commit', () => {
  const allowed = { attempts: 10, gpuHours: 2 };

  it('parks by attempts or by GPU hours, whichever is used up first', () => {
    expect(allowanceProblem({ attempts: 10, gpuHours: 2 }, allowed)).toBeNull();
    expect(allowanceProblem({ attempts: 11, gpuHours: 0 }, allowed)).toContain('11 attempts');
    expect(allowanceProblem({ attempts: 1, gpuHours: 2.5 }, allowed)).toContain('2.5 GPU hours');
  });
});

describe('a node that fails twice is avoided', () => {
  const on = (node: string, one: FailureClass, progressed = false): AttemptRecord => ({
    epoch: 1,
    class: one,
    signature: '',
    progressed,
    step: 0,
    node,
  });

  it('counts what may be the node’s fault, and nothing else', () => {
    const records = [
      on('a', 'infrastructure'),
      on('b', 'preempted'),
      on('b', 'preempted'),
      on('a', 'hang'),
      on('c', 'unknown'),
    ];
    expect(nodesToAvoid(records)).toEqual(['a']);
  });

  it('still knows of a bad node after progress elsewhere, when older records are dropped', () => {
    const records = [
      on('a', 'hang'),
      on('b', 'preempted', true),
      on('a', 'unknown'),
      on('b', 'preempted', true),
    ];
    expect(relevantAttempts(records)).toHaveLength(3);
    expect(nodesToAvoid(relevantAttempts(records))).toEqual(['a']);
  });
});

describe('a job’s name', () => {
  it('follows from run, stage and epoch', () => {
    expect(jobName('tiny-1', '04-stage-1', 2)).toBe('tiny-1.04-stage-1.0002');
  });

  it('is short enough for any scheduler, and still different for different runs', () => {
    const [a, b] = ['a', 'b'].map((end) => jobName('x'.repeat(90) + end, '04-stage-1', 1));
    expect(a).not.toBe(b);
    expect(a?.length).toBeLessThanOrEqual(63);
    expect(a).toMatch(/\.04-stage-1\.0001$/);
  });
});

describe('live progress', () => {
  it('gives speed and time left from the newest steps', () => {
    const tracker = new ProgressTracker(1, 10);
    for (const step of [1, 2, 3]) {
      tracker.add({
        type: 'step',
        step,
        tokens: step * 1000,
        loss: 5 - step,
        learningRate: 1e-3,
        seconds: 2,
      });
    }
    expect(tracker.progress).toMatchObject({
      step: 3,
      tokens: 3000,
      loss: 2,
      tokensPerSecond: 500,
      secondsLeft: 14,
    });
  });

  it('estimates an evaluation from the samples finished since it was attached to', () => {
    const tracker = new ProgressTracker(1, null);
    tracker.add({ type: 'sample', at: '2026-01-01T00:00:00.000Z', done: 40, total: 100 });
    expect(tracker.progress.secondsLeft).toBeNull();
    tracker.add({ type: 'sample', at: '2026-01-01T00:00:10.000Z', done: 60, total: 100 });
    expect(tracker.progress).toMatchObject({ step: 60, steps: 100, secondsLeft: 20 });
  });
});
