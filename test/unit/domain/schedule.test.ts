import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { learningRate } from '../../../src/domain/walk/schedule.js';

const casesSchema = z.array(
  z.strictObject({
    name: z.string(),
    schedule: z.strictObject({
      peak: z.number(),
      floor: z.number(),
      warmupTokens: z.int(),
      totalTokens: z.int(),
    }),
    points: z.array(z.strictObject({ tokens: z.int(), learningRate: z.number() })),
  }),
);
const fixture = new URL('../../../infra/trainer/tests/fixtures/schedule.json', import.meta.url);
const cases = casesSchema.parse(JSON.parse(readFileSync(fixture, 'utf8')));

describe('the learning rate that plans show is the one trainers use', () => {
  it.each(cases)('$name', ({ schedule, points }) => {
    for (const { tokens, learningRate: expected } of points) {
      const rate = learningRate(schedule, tokens);
      expect(Math.abs(rate - expected)).toBeLessThanOrEqual(1e-12 * Math.abs(expected));
    }
  });
});
