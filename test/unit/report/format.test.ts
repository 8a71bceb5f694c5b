import { describe, expect, it } from 'vitest';
import {
  decimal,
  duration,
  instant,
  orGap,
  percent,
  plural,
  scientific,
  theta,
  tokenRange,
} from '../../../src/report/page/format.js';

describe('numbers for people', () => {
  it('never round a share to nothing or to all', () => {
    expect([0, 0.001, 0.594, 0.999, 1].map(percent)).toEqual(['0 %', '<1 %', '59 %', '>99 %', '100 %']);
  });

  it('name durations by their size', () => {
    expect([0.1, 4.25, 59.4, 59.6, 252, 3599.7, 11_100].map(duration)).toEqual([
      '0.10 s',
      '4.3 s',
      '59 s',
      '1 min 00 s',
      '4 min 12 s',
      '1 h 00 min',
      '3 h 05 min',
    ]);
  });

  it('write powers of ten and minus signs as they are printed', () => {
    expect([scientific(1.28e8), scientific(1e-3, 2), scientific(0)]).toEqual(['1.28 × 10⁸', '1 × 10⁻³', '0']);
    expect([theta(64_000), theta(8e6)]).toEqual(['64,000', '8 × 10⁶']);
    expect([decimal(-1.234, 2), decimal(-0.001, 2)]).toEqual(['−1.23', '0.00']);
  });

  it('say what was not measured', () => {
    expect(orGap(null, percent)).toBe('not measured');
    expect(orGap(0, percent)).toBe('0 %');
  });

  it('count things and name instants in UTC', () => {
    expect([plural(1, 'context'), plural(8, 'context')]).toEqual(['1 context', '8 contexts']);
    expect([tokenRange({ fewest: 4092, most: 4092 }), tokenRange({ fewest: 990, most: 1021 })]).toEqual([
      '4,092 tokens',
      '990 to 1,021 tokens',
    ]);
    expect(instant('2026-11-24T05:34:10.123Z')).toBe('2026-11-24 05:34:10 UTC');
  });
});
