import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { canonicalJson, digestOf, sha256OfText } from '../../../src/domain/lib/digest.js';
import { trainingFlops, trainingFlopsPerToken } from '../../../src/domain/plan/cost.js';
import { formatPlan, plan } from '../../../src/domain/plan/plan.js';
import {
  formatBytes,
  formatCount,
  formatLength,
  formatScientific,
} from '../../../src/domain/recipe/quantities.js';
import { suggestTheta } from '../../../src/domain/walk/rope.js';
import { learningRate, schedulePoints, scheduleOf } from '../../../src/domain/walk/schedule.js';
import { textTable, wrapText } from '../../../src/domain/lib/text-table.js';
import { present, resolve } from './support.js';

describe('digests are computed without Node', () => {
  it('agree with Node’s SHA-256 for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const expected = createHash('sha256').update(text, 'utf8').digest('hex');
        expect(sha256OfText(text)).toBe(`sha256:${expected}`);
      }),
    );
  });

  it('do not depend on the order of keys', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
        expect(digestOf(Object.fromEntries(Object.entries(object).reverse()))).toBe(digestOf(object));
      }),
    );
  });

  it('are of JSON that parses to the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalJson(JSON.parse(canonicalJson(value)))).toBe(canonicalJson(value));
      }),
    );
  });

  it('leave out undefined fields and refuse what JSON cannot hold', () => {
    expect(canonicalJson({ b: [1, 'x', null], a: undefined })).toBe('{"b":[1,"x",null]}');
    expect(() => canonicalJson({ a: NaN })).toThrow(TypeError);
    expect(() => canonicalJson(1n)).toThrow(TypeError);
  });
});

describe('the learning rate warms up and falls by tokens consumed', () => {
  const schedule = { peak: 1, floor: 0.1, warmupTokens: 100, totalTokens: 1100 };

  it('rises in a line to the peak, falls on a cosine to the floor and stays there', () => {
    const rates = [0, 50, 100, 600, 1100, 2000].map((tokens) => learningRate(schedule, tokens));
    expect(rates.map((rate) => Number(rate.toFixed(12)))).toEqual([0, 0.5, 1, 0.55, 0.1, 0.1]);
  });

  it('starts at the peak without a warm-up', () => {
    expect(learningRate({ ...schedule, warmupTokens: 0 }, 0)).toBe(1);
  });

  it('never leaves the range from 0 to the peak, nor falls below the floor after the warm-up', () => {
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e6), fc.nat(2e6), (warmupTokens, rest, tokens) => {
        const rate = learningRate({ ...schedule, warmupTokens, totalTokens: warmupTokens + rest }, tokens);
        expect(rate).toBeLessThanOrEqual(1);
        expect(rate).toBeGreaterThanOrEqual(tokens < warmupTokens ? 0 : 0.1 - 1e-12);
      }),
    );
  });

  it('shows a stage’s first step, peak and last step', () => {
    const stage = present(resolve({ preset: 'prolong-8b' }).stages['stage-1']);
    expect(scheduleOf(stage)).toEqual({
      peak: 1e-5,
      floor: 1e-6,
      warmupTokens: stage.tokens / 10,
      totalTokens: stage.tokens,
    });
    const points = schedulePoints(stage);
    expect(points.map(({ step }) => step)).toEqual([1, 500, 2750, 5000]);
    expect(points.at(1)?.learningRate).toBe(1e-5);
    expect(points.at(-1)?.learningRate).toBeCloseTo(1e-6, 12);
  });
});

describe('dynamic NTK', () => {
  it.each([
    [5e5, 4.13e6],
    [8e6, 6.61e7],
  ])('suggests for 8 times the length at %d what the paper says, %d', (theta, suggestion) => {
    expect(suggestTheta(theta, 8, 128) / suggestion).toBeCloseTo(1, 2);
  });

  it('suggests the same base for the same length', () => {
    expect(suggestTheta(1e3, 1, 32)).toBe(1e3);
  });
});

describe('numbers are written for people', () => {
  it.each([
    [formatLength, 65_536, '64K'],
    [formatLength, 2 ** 20, '1M'],
    [formatLength, 1000, '1000'],
    [formatLength, 256, '256'],
    [formatCount, 20_971_520_000, '21.0B'],
    [formatCount, 819_200, '819K'],
    [formatCount, 999_950, '1.00M'],
    [formatCount, 42, '42'],
    [formatBytes, 96_362_053_632, '96.4 GB'],
    [formatBytes, 12, '12 B'],
    [formatScientific, 1.28e8, '1.28e8'],
    [formatScientific, 1e-5, '1e-5'],
    [formatScientific, 0, '0'],
  ] as const)('%o of %d is %s', (format, value, text) => {
    expect(format(value)).toBe(text);
  });
});

describe('plain text', () => {
  it('aligns columns and cuts blanks at line ends', () => {
    expect(textTable([['a', '1'], ['bcd', '23'], ['e']], ['left', 'right'], '  ')).toEqual([
      '  a     1',
      '  bcd  23',
      '  e',
    ]);
  });

  it('wraps between words and never inside', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-z]{1,30}$/), { minLength: 1 }), (words) => {
        const lines = wrapText(words.join(' '), 20);
        expect(lines.join(' ').split(' ')).toEqual(words);
        expect(lines.every((line) => line.length <= 20 || !line.includes(' '))).toBe(true);
      }),
    );
  });
});

describe('a plan adds up', () => {
  const overrides = fc.record({
    'stage-1': fc.record({ steps: fc.integer({ min: 1, max: 300 }) }),
    'stage-2': fc.record({
      steps: fc.integer({ min: 1, max: 300 }),
      checkpoints: fc.record({
        everySteps: fc.integer({ min: 1, max: 50 }),
        keepLast: fc.integer({ min: 1, max: 5 }),
        keepEvery: fc.integer({ min: 0, max: 60 }),
      }),
    }),
  });

  it('for tokens, FLOPs and cost, whatever the recipe', () => {
    fc.assert(
      fc.property(overrides, (stages) => {
        const {
          stages: planned,
          evaluations,
          total,
        } = plan(resolve({ stages, cost: { pricePerGpuHour: 2 } }));
        for (const stage of planned) {
          const tokens = stage.parts.reduce((sum, part) => sum + part.tokens, 0);
          expect(tokens / stage.tokens).toBeCloseTo(1, 9);
          expect(stage.steps * stage.globalBatchTokens).toBe(stage.tokens);
        }
        const flops = [...planned, ...evaluations].reduce((sum, { effort }) => sum + effort.flops, 0);
        expect(total.flops / flops).toBeCloseTo(1, 9);
        expect(total.cost).toBeCloseTo(total.gpuHours * 2, 9);
      }),
      { numRuns: 20 },
    );
  });

  it('for FLOPs, by what is planned per token and by the documents that were read', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 1e4 }), (length, documents) => {
        const { architecture } = resolve({}).base;
        const tokens = length * documents;
        const { matmul, attention } = trainingFlopsPerToken(architecture, length);
        const read = trainingFlops(architecture, tokens, documents * length ** 2);
        expect(read / (tokens * (matmul + attention))).toBeCloseTo(1, 9);
      }),
    );
  });

  it('for checkpoints, as counted one by one', () => {
    fc.assert(
      fc.property(overrides, (stages) => {
        const { steps, checkpoints } = stages['stage-2'];
        const { everySteps, keepLast, keepEvery } = checkpoints;
        const made = Array.from({ length: steps }, (_, index) => index + 1).filter(
          (step) => step % everySteps === 0 || step === steps,
        );
        const kept = made.filter(
          (step, index) => index >= made.length - keepLast || (keepEvery > 0 && step % keepEvery === 0),
        );
        const planned = plan(resolve({ stages })).stages.find(({ name }) => name === 'stage-2');
        expect(planned?.checkpoints).toMatchObject({ count: made.length, kept: kept.length });
      }),
      { numRuns: 40 },
    );
  });

  it('and is told in lines of about 100 columns, without blanks at their ends', () => {
    const lines = formatPlan(plan(resolve({}))).split('\n');
    expect(lines.filter((line) => line.length > 110 || line !== line.trimEnd())).toEqual([]);
    expect(lines[0]).toMatch(/^Recipe tiny {2}\(preset tiny, sha256:[0-9a-f]{12}\)$/);
  });
});
