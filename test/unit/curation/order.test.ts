import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededPermutation } from '../../../src/curation/rows/permutation.js';
import { apportion, slotOrder } from '../../../src/curation/rows/slots.js';

const countsOf = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 14 });

describe('slots: every domain gets its share at every moment', () => {
  test('totals are exact, and no prefix is off by a whole row', () => {
    fc.assert(
      fc.property(countsOf, (counts) => {
        const rows = counts.reduce((sum, count) => sum + count, 0);
        const used = counts.map(() => 0);
        let [slot, worst] = [0, 0];
        for (const domain of slotOrder(counts)) {
          used[domain] = (used[domain] ?? 0) + 1;
          slot += 1;
          const deviations = counts.map((count, index) =>
            Math.abs((used[index] ?? 0) - (count * slot) / rows),
          );
          worst = Math.max(worst, ...deviations);
        }
        expect(worst).toBeLessThan(1);
        expect(used).toEqual(counts);
      }),
    );
  });

  test('a step whose shares are whole rows is off by at most one row of any domain', () => {
    fc.assert(
      fc.property(countsOf, fc.integer({ min: 2, max: 8 }), (perStep, steps) => {
        const counts = perStep.map((count) => count * steps);
        const order = [...slotOrder(counts)];
        const rows = perStep.reduce((sum, count) => sum + count, 0);
        for (let step = 0; step < steps; step++) {
          const inStep = order.slice(step * rows, (step + 1) * rows);
          perStep.forEach((count, domain) =>
            expect(Math.abs(inStep.filter((one) => one === domain).length - count)).toBeLessThanOrEqual(1),
          );
        }
      }),
    );
  });

  test('apportioned rows add up, each within one of its exact share', () => {
    const shares = fc.array(fc.double({ min: 0.001, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(shares, fc.integer({ min: 0, max: 5000 }), (parts, rows) => {
        const total = parts.reduce((sum, share) => sum + share, 0);
        const counts = apportion(parts, rows);
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(rows);
        counts.forEach((count, index) =>
          expect(Math.abs(count - ((parts[index] ?? 0) / total) * rows)).toBeLessThan(1.001),
        );
      }),
    );
  });

  test('Table 9 over 800 rows needs no rounding', () => {
    const shares = [0.3, 0.3, 0.03, 0.1, 0.1, 0.04, 0.04, 0.03, 0.03, 0.03];
    expect(apportion(shares, 800)).toEqual([240, 240, 24, 80, 80, 32, 32, 24, 24, 24]);
  });
});

describe('permutations: seeded, complete, without a list', () => {
  test('every index comes exactly once, and the same seed gives the same order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.string(), (size, seed) => {
        const order = seededPermutation(size, seed);
        const places = Array.from({ length: size }, (_, index) => order(index));
        expect(new Set(places).size).toBe(size);
        expect(Math.min(...places)).toBe(0);
        expect(Math.max(...places)).toBe(size - 1);
        const again = seededPermutation(size, seed);
        expect(again(size - 1)).toBe(places[size - 1]);
      }),
    );
  });

  test('seeds give different orders, and neighbours do not stay together', () => {
    const [one, two] = [seededPermutation(10_000, 'a'), seededPermutation(10_000, 'b')];
    const indices = Array.from({ length: 10_000 }, (_, index) => index);
    expect(indices.filter((index) => one(index) === two(index)).length).toBeLessThan(20);
    expect(
      indices.slice(1).filter((index) => Math.abs(one(index) - one(index - 1)) === 1).length,
    ).toBeLessThan(20);
  });

  test('sizes beyond memory are fine, and what lies outside is refused', () => {
    const order = seededPermutation(2 ** 40, 'large');
    expect(order(0)).not.toBe(order(1));
    expect(order(2 ** 40 - 1)).toBeLessThan(2 ** 40);
    expect(() => order(2 ** 40)).toThrow(RangeError);
    expect(() => seededPermutation(0, 'none')).toThrow(RangeError);
  });
});
