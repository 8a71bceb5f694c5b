import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bestIntervalSeconds,
  bestIntervalSteps,
  goodput,
  goodputWithGrace,
  meanBetweenInterruptions,
} from '../../../src/domain/plan/interval.js';
import type { CheckpointCosts, InterruptionCosts } from '../../../src/domain/plan/interval.js';
import { formatPlan, plan } from '../../../src/domain/plan/plan.js';
import type { StagePlan } from '../../../src/domain/plan/plan.js';
import { resolve } from './support.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SEED = 20261124;

/** Random numbers in [0, 1), the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Seconds until each interruption of a schedule, in order; the same schedule whatever is simulated on it. */
function schedule(meanSeconds: number, count: number, seed: number): number[] {
  const next = random(seed);
  return Array.from({ length: count }, () => -meanSeconds * Math.log(1 - next()));
}

/** Goodput of a run that is interrupted on schedule, followed step by step. */
function simulate(
  everySteps: number,
  costs: CheckpointCosts,
  relaunchSeconds: number,
  gaps: readonly number[],
): number {
  let committedSteps = 0;
  for (const gap of gaps) {
    let at = relaunchSeconds;
    let steps = 0;
    let committed = 0;
    while (at + costs.stepSeconds <= gap) {
      at += costs.stepSeconds;
      steps += 1;
      if (steps % everySteps !== 0) continue;
      at += costs.stallSeconds;
      if (at + costs.saveSeconds <= gap) committed = steps;
    }
    committedSteps += committed;
  }
  return (committedSteps * costs.stepSeconds) / gaps.reduce((sum, gap) => sum + gap, 0);
}

const COSTS: CheckpointCosts = { stepSeconds: 2, stallSeconds: 1, saveSeconds: 5 };
const INTERRUPTIONS: InterruptionCosts = { meanSeconds: 600, relaunchSeconds: 30 };

describe('the interval between checkpoints', () => {
  it('is Young’s √(2 · cost · mean) where saves are cheap', () => {
    expect(bestIntervalSeconds(1, 100_000) / Math.sqrt(200_000)).toBeCloseTo(1, 2);
  });

  it('is the mean time between interruptions where a save takes longer than that', () => {
    expect(bestIntervalSeconds(100, 40)).toBe(40);
  });

  it('is at least a step, and at least what a save takes: one is in flight at a time', () => {
    expect(bestIntervalSteps({ ...COSTS, stepSeconds: 10_000 }, INTERRUPTIONS)).toBe(1);
    expect(bestIntervalSteps({ ...COSTS, stallSeconds: 0, saveSeconds: 20 }, INTERRUPTIONS)).toBe(10);
  });

  it('grows with the cost of a save and with the time between interruptions', () => {
    const seconds = fc.double({ min: 0.01, max: 1e4, noNaN: true });
    fc.assert(
      fc.property(seconds, seconds, (cost, mean) => {
        expect(bestIntervalSeconds(cost, mean * 2)).toBeGreaterThanOrEqual(bestIntervalSeconds(cost, mean));
        if (cost * 4 < mean) {
          expect(bestIntervalSeconds(cost * 2, mean)).toBeGreaterThan(bestIntervalSeconds(cost, mean));
        }
      }),
    );
  });

  it('loses less than 5 % of the goodput of the best interval there is, on the same schedule of faults', () => {
    const stepSeconds = fc.double({ min: 0.5, max: 20, noNaN: true });
    const stallSeconds = fc.double({ min: 0, max: 5, noNaN: true });
    const meanSeconds = fc.double({ min: 300, max: 3000, noNaN: true });
    const seed = fc.nat();
    fc.assert(
      fc.property(stepSeconds, stallSeconds, meanSeconds, seed, (step, stall, mean, scheduleSeed) => {
        const costs = { stepSeconds: step, stallSeconds: stall, saveSeconds: 2 * stall + 1 };
        const gaps = schedule(mean, 200, scheduleSeed);
        const of = (steps: number) => simulate(steps, costs, 10, gaps);
        const chosen = bestIntervalSteps(costs, { meanSeconds: mean, relaunchSeconds: 10 });
        const floor = Math.max(1, Math.ceil(costs.saveSeconds / step));
        const tried = Array.from({ length: 20 }, (_, index) => Math.ceil(floor * 1.4 ** index));
        const best = Math.max(...tried.map(of));
        expect(of(chosen) / best).toBeGreaterThan(0.95);
      }),
      { numRuns: 20, seed: SEED },
    );
  });

  it('goes by the assumed time between interruptions until there are any, and then ever more by what is seen', () => {
    expect(meanBetweenInterruptions(180, 0, 0)).toBe(180);
    expect(meanBetweenInterruptions(180, 182, 1)).toBeCloseTo(182, 0);
    expect(meanBetweenInterruptions(180, 12_000, 1000)).toBeCloseTo(12, 1);
  });

  it('unlearns an assumption that was far too long with the first interruptions', () => {
    expect(meanBetweenInterruptions(180, 4, 1)).toBe(20);
    expect(meanBetweenInterruptions(180, 12, 3)).toBeLessThan(10);
  });

  it('takes a job that nothing has interrupted for one that lives at least as long again', () => {
    expect(meanBetweenInterruptions(180, 9000, 0)).toBe(9000);
  });

  it('is the same in the trainer, which decides by it', async () => {
    const cases = [
      [0.01, 180],
      [1, 600],
      [48, 10_800],
      [300, 500],
      [90, 45],
    ] as const;
    const code =
      'import json, sys\n' +
      'from longhaul_trainer.checkpoint.interval import best_interval_seconds\n' +
      'print(json.dumps([best_interval_seconds(*case) for case in json.loads(sys.argv[1])]))';
    const { stdout } = await execa(`${ROOT}.longhaul/venv/bin/python`, ['-c', code, JSON.stringify(cases)], {
      cwd: `${ROOT}infra/trainer`,
    });
    const theirs: unknown = JSON.parse(stdout);
    expect(theirs).toEqual(
      cases.map(([cost, mean]): unknown => expect.closeTo(bestIntervalSeconds(cost, mean), 9)),
    );
  });
});

describe('expected goodput', () => {
  it.each([
    [1, COSTS, INTERRUPTIONS],
    [10, COSTS, INTERRUPTIONS],
    [60, COSTS, INTERRUPTIONS],
    [5, { stepSeconds: 20, stallSeconds: 4, saveSeconds: 30 }, { meanSeconds: 900, relaunchSeconds: 120 }],
  ])('at %i steps an interval is what a simulation comes to', (steps, costs, interruptions) => {
    const gaps = schedule(interruptions.meanSeconds, 20_000, SEED);
    const simulated = simulate(steps, costs, interruptions.relaunchSeconds, gaps);
    expect(Math.abs(goodput(steps, costs, interruptions) / simulated - 1)).toBeLessThan(0.02);
  });

  it('is better with a grace that a save fits in, the more so the longer the interval', () => {
    const gain = (steps: number) =>
      goodputWithGrace(steps, COSTS, INTERRUPTIONS) / goodput(steps, COSTS, INTERRUPTIONS);
    expect(gain(10)).toBeGreaterThan(1);
    expect(gain(100)).toBeGreaterThan(gain(10));
  });
});

describe('the plan says what a preemption costs', () => {
  const planned = (recipe: object, name: string): StagePlan => {
    const found = plan(resolve(recipe)).stages.find((stage) => stage.name === name);
    if (found === undefined) throw new Error(`no stage ${name}`);
    return found;
  };

  it('with grace for a save, the step under way: minutes at 512K', () => {
    const { preemption } = planned({ preset: 'prolong-8b' }, 'stage-2');
    expect(preemption.graceFits).toBe(true);
    expect(preemption.mostLostWithGraceSeconds).toBe(preemption.stepSeconds);
    expect(preemption.stepSeconds / 60).toBeGreaterThan(3);
  });

  it('without, up to the interval and the save under way', () => {
    const { preemption, checkpoints } = planned({ preset: 'prolong-8b' }, 'stage-1');
    expect(preemption.mostLostWithoutGraceSeconds).toBeCloseTo(
      checkpoints.everySteps * preemption.stepSeconds + preemption.saveSeconds,
      6,
    );
  });

  it('and points at an interval that wastes the fleet', () => {
    const { notices } = plan(resolve({ preset: 'prolong-8b' }));
    const stage2 = notices.find(({ path }) => path === 'stages.stage-2.checkpoints.everySteps');
    expect(stage2?.message).toMatch(/leave \d+ % of the time .* "auto"/);
    expect(plan(resolve({})).notices).toEqual([]);
  });

  it('and copes with an interval that is measured later', () => {
    const recipe = { stages: { 'stage-1': { checkpoints: { everySteps: 'auto' } } } };
    const { checkpoints, preemption } = planned(recipe, 'stage-1');
    expect(checkpoints).toMatchObject({ auto: true, everySteps: preemption.bestEverySteps });
    expect(formatPlan(plan(resolve(recipe)))).toMatch(/stage-1 +auto, about \d+ steps?/);
  });
});
