import { describe, expect, it } from 'vitest';
import { formatPlan, plan } from '../../../src/domain/plan/plan.js';
import { PROLONG_8B_READINGS } from '../../../src/domain/recipe/presets/prolong-8b.js';
import { rowsOf, stepsOf } from '../../../src/domain/recipe/parse.js';
import type { TrainingStage } from '../../../src/domain/recipe/parse.js';
import { present, resolve } from './support.js';

const recipe = resolve({ preset: 'prolong-8b' });
const stage = (name: string): TrainingStage => present(recipe.stages[name]);
const [stage1, stage2, sft] = [stage('stage-1'), stage('stage-2'), stage('sft')];
const K = 1024;

/** Shares in percent by domain and length, as Table 9 tells them. */
function sharesOf({ mix }: TrainingStage): Record<string, number> {
  return Object.fromEntries(
    mix.map(({ domain, lengthTokens, share }) => [
      lengthTokens === null ? domain : `${domain} at ${lengthTokens / K}K`,
      Math.round(share * 1e4) / 100,
    ]),
  );
}

const shortMix = {
  'fineweb-edu': 10,
  fineweb: 10,
  tuluv2: 4,
  stackexchange: 4,
  wikipedia: 3,
  openwebmath: 3,
  arxiv: 3,
};

describe('prolong-8b is Table 9 to the digit', () => {
  it('starts from Llama-3-8B-Instruct with its RoPE base', () => {
    expect(recipe.base.ropeTheta).toBe(5e5);
    expect(recipe.base.lengthTokens).toBe(8 * K);
  });

  it('trains stage 1 at 64K on 30 % code, 30 % books, 3 % textbooks and 37 % ShortMix', () => {
    expect(stage1.sequenceLengthTokens).toBe(64 * K);
    expect(sharesOf(stage1)).toEqual({
      'code at 64K': 30,
      'books at 64K': 30,
      'textbooks at 64K': 3,
      ...shortMix,
    });
  });

  it('trains stage 2 at 512K on code half at 512K, books 17 % and textbooks all', () => {
    const shares = sharesOf(stage2);
    expect(stage2.sequenceLengthTokens).toBe(512 * K);
    expect(shares).toEqual({
      'code at 512K': 15,
      'code at 64K': 15,
      'books at 512K': 5,
      'books at 64K': 25,
      'textbooks at 512K': 3,
      ...shortMix,
    });
    expect(Math.round((5 / 30) * 100)).toBe(17);
  });

  it('mixes ShortMix as 27 / 27 / 11 / 11 / 8 / 8 / 8 %', () => {
    const percents = Object.values(shortMix).map((share) => Math.round((share / 37) * 100));
    expect(percents).toEqual([27, 27, 11, 11, 8, 8, 8]);
  });

  it('sets the RoPE base to 8e6 and 1.28e8', () => {
    expect([stage1.ropeTheta, stage2.ropeTheta, sft.ropeTheta]).toEqual([8e6, 1.28e8, 1.28e8]);
  });

  it('takes batches of 4M, 8M and 4M tokens, and 20B, 20B and 1B tokens in all', () => {
    const stages = [stage1, stage2, sft];
    expect(stages.map((one) => one.globalBatchTokens)).toEqual([2 ** 22, 2 ** 23, 2 ** 22]);
    expect(stages.map(stepsOf)).toEqual([5000, 2500, 250]);
    expect(stages.map(rowsOf)).toEqual([320_000, 40_000, 16_000]);
  });

  it('warms up over 10 % to 1e-5 and falls to 1e-6, in SFT over 5 % to 2e-5 and to 2e-6', () => {
    const long = { peak: 1e-5, floor: 1e-6, warmupShare: 0.1 };
    expect(stage1.schedule).toEqual(long);
    expect(stage2.schedule).toEqual(long);
    expect(sft.schedule).toEqual({ peak: 2e-5, floor: 2e-6, warmupShare: 0.05 });
  });

  it('uses AdamW with weight decay 0.1, β1 0.9 and β2 0.95 everywhere', () => {
    for (const { optimizer } of [stage1, stage2, sft])
      expect(optimizer).toMatchObject({ beta1: 0.9, beta2: 0.95, weightDecay: 0.1 });
  });

  it('masks documents from each other', () => {
    expect([stage1, stage2, sft].every((one) => one.documentMasking)).toBe(true);
  });

  it('carries the Adam moments into stage 2 and starts SFT with fresh ones', () => {
    expect([stage1.moments, stage2.moments, sft.moments]).toEqual(['fresh', 'carry', 'fresh']);
    expect([stage1.from, stage2.from, sft.from]).toEqual(['base', 'stage-1', 'stage-2']);
  });
});

describe('where the paper leaves a choice, the other reading is one override away', () => {
  const settable = PROLONG_8B_READINGS.flatMap(({ question, overrides }) =>
    overrides === undefined ? [] : [[question, overrides] as const],
  );

  it.each(settable)('%s', (_, overrides) => {
    expect(resolve({ preset: 'prolong-8b', ...overrides })).not.toEqual(recipe);
  });

  const reading = (words: string) => {
    const found = PROLONG_8B_READINGS.filter(({ question }) => question.includes(words));
    const overrides = present(found[0]).overrides;
    expect(found).toHaveLength(1);
    return plan(resolve({ preset: 'prolong-8b', ...present(overrides) }));
  };
  const stage = (planned: ReturnType<typeof plan>, name: string) =>
    present(planned.stages.find((one) => one.name === name));

  it('packs textbooks of any length, at the same share', () => {
    const planned = reading('Textbooks');
    for (const name of ['stage-1', 'stage-2']) {
      const parts = stage(planned, name).parts.filter(({ domain }) => domain === 'textbooks');
      expect(parts).toMatchObject([{ lengthTokens: null, share: 0.03 }]);
      expect(stage(planned, name).parts).toHaveLength(present(recipe.stages[name]).mix.length);
    }
  });

  it('starts the schedule at 0, and warms SFT up for 13 whole steps', () => {
    const planned = reading('Where the schedule starts');
    for (const { schedule, floor } of planned.stages) {
      expect(schedule[0]).toMatchObject({ step: 1, learningRate: 0 });
      expect(present(schedule.at(-1)).learningRate).toBeGreaterThan(floor);
    }
    expect(stage(planned, 'sft').warmupTokens).toBe(13 * 64 * 65_536);
    expect(stage(plan(recipe), 'sft').warmupTokens).toBe(12.5 * 64 * 65_536);
    expect(present(stage(plan(recipe), 'stage-1').schedule[0]).learningRate).toBeCloseTo(1e-5 / 500, 12);
  });

  it('is told by the plan', () => {
    const text = formatPlan(plan(recipe));
    for (const { question } of PROLONG_8B_READINGS) expect(text).toContain(question);
  });
});

describe('the plan counts what the run leaves in the store', () => {
  const planned = plan(recipe);

  it('16 GB of each of three exports in bfloat16, 32 GB in float32', () => {
    expect(planned.total.exportBytes).toBe(3 * 2 * 8_030_261_248);
    const full = plan(resolve({ preset: 'prolong-8b', export: { weights: 'float32' } }));
    expect(full.total.exportBytes).toBe(3 * 4 * 8_030_261_248);
  });

  it('four bytes a token of training data, five where a mask goes with it, and held-out rows', () => {
    const { 'stage-1': first, 'stage-2': second, sft: last } = recipe.stages;
    const training = 4 * (present(first).tokens + present(second).tokens) + 5 * present(last).tokens;
    const heldOut = 4 * (20 * (32 + 64 + 128) * 1024 + (5 + 16) * 524_288);
    expect(planned.total.datasetBytes).toBe(training + heldOut);
  });

  it('in one table, with checkpoints', () => {
    const { checkpointBytesKept, exportBytes, datasetBytes, storedBytes } = planned.total;
    expect(storedBytes).toBe(checkpointBytesKept + exportBytes + datasetBytes);
    expect(formatPlan(planned)).toContain('Storage when the run has ended');
  });
});

describe('the plan agrees with the paper’s H100 hours', () => {
  const stages = plan(recipe).stages;
  const planned = (name: string) => present(stages.find((one) => one.name === name));

  it.each([
    ['stage-1', 0.211, 2200],
    ['stage-2', 0.078, 12_200],
  ])('%s at an MFU of %f takes %i hours, within 5 %%', (name, mfu, hours) => {
    const { effort } = planned(name);
    expect(effort.mfu).toBe(mfu);
    expect(Math.abs(effort.gpuHours / hours - 1)).toBeLessThan(0.05);
  });

  it('counts 8.03 billion parameters and 78.7 and 161.7 GFLOP per token', () => {
    const perToken = (name: string) => {
      const { matmul, attention } = planned(name).flopsPerToken;
      return (matmul + attention) / 1e9;
    };
    expect(plan(recipe).base.parameters.total).toBe(8_030_261_248);
    expect(perToken('stage-1')).toBeCloseTo(78.7, 1);
    expect(perToken('stage-2')).toBeCloseTo(161.7, 1);
  });

  it('keeps to the paper’s checkpoint interval: 40 and 20 of 96 GB', () => {
    expect(planned('stage-1').checkpoints).toMatchObject({ count: 40, everySteps: 125 });
    expect(planned('stage-2').checkpoints.count).toBe(20);
    expect(planned('stage-1').checkpoints.bytesEach).toBe(12 * 8_030_261_248);
  });
});
