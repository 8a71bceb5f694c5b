import { describe, expect, it } from 'vitest';
import { comparePaired, estimate, estimateShare, randomStream } from '../../src/report/data/statistics.js';
import type { Observation } from '../../src/report/data/statistics.js';

const SEED = 'statistics-tests-1';
const options = { confidence: 0.95, resamples: 600, seed: SEED };

/** Questions of `perCluster` per context, with values made by `value`. */
function observe(
  clusters: number,
  perCluster: number,
  value: (cluster: number, question: number) => number,
): Observation[] {
  return Array.from({ length: clusters * perCluster }, (_, index) => {
    const cluster = Math.floor(index / perCluster);
    return {
      sample: `s-${index}`,
      cluster: `c-${cluster}`,
      total: value(cluster, index % perCluster),
      weight: 1,
    };
  });
}

/** A standard normal draw. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

describe('pseudo-random stream', () => {
  it('is the same for the same seed and another for another seed', () => {
    const draw = (seed: string) => Array.from({ length: 5 }, randomStream(seed));
    expect(draw('a')).toEqual(draw('a'));
    expect(draw('a')).not.toEqual(draw('b'));
    expect(draw('ab')).not.toEqual(draw('ba'));
  });

  it('is uniform over [0, 1) to within its sampling error', () => {
    const random = randomStream(SEED);
    const bins = new Array<number>(10).fill(0);
    for (let index = 0; index < 100_000; index += 1) {
      const bin = Math.floor(random() * 10);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    // Standard deviation of a bin is 95.
    for (const count of bins) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });
});

describe('intervals of one model', () => {
  it('are undefined when nothing was measured', () => {
    expect(estimate([], options)).toBeUndefined();
    expect(estimateShare([], options)).toBeUndefined();
  });

  it('weigh rows by their tokens', () => {
    const rows: Observation[] = [
      { sample: 'a', cluster: 'a', total: 300, weight: 100 },
      { sample: 'b', cluster: 'b', total: 50, weight: 50 },
    ];
    expect(estimate(rows, options)?.mean).toBeCloseTo(350 / 150, 12);
  });

  it('are equal for equal seeds and data', () => {
    const random = randomStream(SEED);
    const data = observe(20, 2, () => random());
    expect(estimate(data, options)).toEqual(estimate(data, options));
  });

  it('admit doubt about a share of 0 or 1', () => {
    const none = estimateShare(
      observe(10, 2, () => 0),
      options,
    );
    const all = estimateShare(
      observe(10, 2, () => 1),
      options,
    );
    expect(none).toMatchObject({ mean: 0, low: 0 });
    expect(none?.high).toBeCloseTo(0.278, 3);
    expect(all?.low).toBeCloseTo(0.722, 3);
  });

  it('give Wilson’s interval for independent questions', () => {
    // 40 of 100: 0.309 to 0.498 (Newcombe 1998, method 3).
    const interval = estimateShare(
      observe(100, 1, (cluster) => (cluster < 40 ? 1 : 0)),
      options,
    );
    expect(interval?.low).toBeCloseTo(0.3094, 3);
    expect(interval?.high).toBeCloseTo(0.498, 3);
  });

  it('are wider when questions of a context are answered alike', () => {
    const alike = estimateShare(
      observe(20, 5, (cluster) => cluster % 2),
      options,
    );
    const independent = estimateShare(
      observe(100, 1, (cluster) => cluster % 2),
      options,
    );
    expect(alike?.mean).toBe(0.5);
    expect(width(alike)).toBeGreaterThan(2 * width(independent));
  });

  it('hold the true mean about as often as they claim', () => {
    const random = randomStream(SEED);
    const trials = 400;
    let held = 0;
    for (let trial = 0; trial < trials; trial += 1) {
      const effects = Array.from({ length: 20 }, () => 0.5 * normal(random));
      const data = observe(20, 4, (cluster) => 2 + (effects[cluster] ?? 0) + normal(random));
      const interval = estimate(data, { ...options, seed: `${SEED} ${trial}` });
      if (contains(interval, 2)) held += 1;
    }
    console.log(`seed ${SEED}: the 95 % interval held the mean in ${held} of ${trials} trials`);
    expect(held / trials).toBeGreaterThan(0.915);
    expect(held / trials).toBeLessThan(0.985);
  });
});

function width(interval: { low: number | null; high: number | null } | undefined): number {
  const { low, high } = interval ?? { low: null, high: null };
  return low === null || high === null ? Number.NaN : high - low;
}

function contains(interval: { low: number | null; high: number | null } | undefined, value: number): boolean {
  const { low, high } = interval ?? { low: null, high: null };
  // Both ends unknown: nothing is excluded.
  return low === null || high === null || (low <= value && value <= high);
}

describe('intervals when the questions of a context are answered alike', () => {
  const SHARES = [0, 0.05, 0.5, 0.95, 1];
  const CONTEXTS = Array.from({ length: 16 }, (_, index) => 5 + index);
  const QUESTIONS = [1, 2, 3, 4, 5, 6];
  type Estimator = (data: Observation[]) => { low: number | null; high: number | null } | undefined;
  const nothing = (data: Observation[]) => data.map((one) => ({ ...one, total: 0 }));
  const estimators: Record<string, Estimator> = {
    estimateShare: (data) => estimateShare(data, options),
    'estimate, within bounds': (data) => estimate(data, { ...options, bounds: [0, 1] }),
    'comparePaired, within bounds': (data) =>
      comparePaired(data, nothing(data), 'higher-is-better', { ...options, resamples: 20, bounds: [0, 1] }),
  };

  /** Chances of 0 to `contexts` right answers of a model that gets a share of contexts right. */
  function chances(contexts: number, share: number): number[] {
    let row = [1];
    for (let context = 0; context < contexts; context += 1) {
      row = [...row, 0].map((chance, right) => chance * (1 - share) + (row[right - 1] ?? 0) * share);
    }
    return row;
  }

  it.each(Object.entries(estimators))(
    '%s: hold the true share as often as they claim, for every share and number',
    (name, interval) => {
      const few = name.startsWith('comparePaired') ? [5, 6, 8, 11, 16, 20] : CONTEXTS;
      const seen: number[] = [];
      for (const contexts of few) {
        for (const questions of QUESTIONS) {
          const intervals = Array.from({ length: contexts + 1 }, (_, right) =>
            interval(observe(contexts, questions, (context) => (context < right ? 1 : 0))),
          );
          for (const share of SHARES) {
            // Every outcome there is, weighed by its chance: no trials, no luck.
            const coverage = chances(contexts, share).reduce(
              (sum, chance, right) => sum + (contains(intervals[right], share) ? chance : 0),
              0,
            );
            seen.push(coverage);
            // Wilson's own worst with so few contexts: 0.898, of 11 at a share of 0.05.
            expect(coverage, `${contexts} × ${questions} at ${share}`).toBeGreaterThan(0.89);
          }
          for (const one of intervals) expect(width(one)).toBeGreaterThan(0);
        }
      }
      expect(seen.reduce((sum, one) => sum + one, 0) / seen.length).toBeGreaterThan(0.94);
    },
  );

  it.each(Object.entries(estimators))('%s: hold it when they are alike only in part', (_, interval) => {
    const random = randomStream(SEED);
    const trials = 300;
    for (const [contexts, questions] of [
      [6, 5],
      [10, 3],
      [16, 4],
    ] as const) {
      for (const share of [0.05, 0.5, 0.95]) {
        let held = 0;
        for (let trial = 0; trial < trials; trial += 1) {
          const right = () => (random() < share ? 1 : 0);
          const shared = Array.from({ length: contexts }, right);
          const data = observe(contexts, questions, (context) =>
            random() < 0.6 ? (shared[context] ?? 0) : right(),
          );
          if (contains(interval(data), share)) held += 1;
        }
        expect(held / trials, `${contexts} × ${questions} at ${share}, seed ${SEED}`).toBeGreaterThan(0.9);
      }
    }
  });

  it('count contexts where all answers agree: 20 × 6 right are 20', () => {
    const all = estimateShare(
      observe(20, 6, () => 1),
      options,
    );
    expect(all?.low).toBeCloseTo(0.839, 3);
    const none = estimateShare(
      observe(20, 6, () => 0),
      options,
    );
    expect(none?.high).toBeCloseTo(0.161, 3);
  });

  it('are not narrowed by a single odd answer', () => {
    const odd = estimateShare(
      observe(20, 6, (context, question) => (context + question === 0 ? 0 : 1)),
      options,
    );
    expect(odd?.low).toBeGreaterThan(0.8);
    expect(odd?.low).toBeLessThan(0.87);
  });

  it.each([2, 3, 4, 5, 6, 8, 12, 20])(
    'without bounds: %i contexts hold the true mean as often as they claim',
    (contexts) => {
      const random = randomStream(`${SEED} ${contexts}`);
      const trials = 500;
      let [held, differences] = [0, 0];
      for (let trial = 0; trial < trials; trial += 1) {
        const values = Array.from({ length: contexts }, () => 2 + normal(random));
        const data = observe(contexts, 4, (context) => values[context] ?? 0);
        const seeded = { ...options, resamples: 300, seed: `${SEED} ${trial}` };
        if (contains(estimate(data, seeded), 2)) held += 1;
        if (contains(comparePaired(data, nothing(data), 'lower-is-better', { ...seeded, resamples: 60 }), 2))
          differences += 1;
      }
      // Three standard errors of 500 trials below 0.95 are 0.92; percentiles of a few resamples cost a little more.
      expect(held / trials).toBeGreaterThan(0.905);
      expect(differences / trials).toBeGreaterThan(0.88);
    },
  );
});

describe('intervals of a single context', () => {
  const one = observe(1, 6, () => 1);

  it('are wide, or unknown, never without width', () => {
    for (const right of [0, 3, 6]) {
      const data = observe(1, 6, (_, question) => (question < right ? 1 : 0));
      expect(width(estimateShare(data, options))).toBeGreaterThan(0.75);
      expect(width(estimate(data, { ...options, bounds: [0, 1] }))).toBeGreaterThan(0.75);
    }
    expect(estimate(one, options)).toMatchObject({ mean: 1, low: null, high: null, clusters: 1 });
  });

  it('separate nothing', () => {
    const zero = observe(1, 6, () => 0);
    for (const bounds of [undefined, [0, 1] as const]) {
      const compared = comparePaired(one, zero, 'higher-is-better', { ...options, bounds });
      expect(compared?.verdict).toBe('not separable');
    }
  });
});

describe('comparison of two models', () => {
  it('uses only the samples that both answered', () => {
    const model = observe(8, 1, () => 1);
    const against = observe(6, 1, () => 0);
    expect(comparePaired(model, against, 'higher-is-better', options)).toMatchObject({ samples: 6, mean: 1 });
    expect(comparePaired(model, [], 'higher-is-better', options)).toBeUndefined();
  });

  it('refuses samples of different size', () => {
    const model: Observation[] = [{ sample: 'a', cluster: 'a', total: 1, weight: 10 }];
    const against: Observation[] = [{ sample: 'a', cluster: 'a', total: 1, weight: 11 }];
    expect(() => comparePaired(model, against, 'lower-is-better', options)).toThrow(
      /sample a weighs 10 and 11/,
    );
  });

  it('calls a clear gain better, a clear loss worse, and reads loss the other way round', () => {
    const one = observe(16, 3, () => 1);
    const zero = observe(16, 3, () => 0);
    expect(comparePaired(one, zero, 'higher-is-better', options)?.verdict).toBe('better');
    expect(comparePaired(zero, one, 'higher-is-better', options)?.verdict).toBe('worse');
    expect(comparePaired(zero, one, 'lower-is-better', options)?.verdict).toBe('better');
  });

  it('calls equal models, and few clusters however clear, not separable', () => {
    const random = randomStream(SEED);
    const same = observe(16, 3, () => random());
    expect(comparePaired(same, same, 'higher-is-better', options)).toMatchObject({
      mean: 0,
      verdict: 'not separable',
      pValue: 1,
    });
    // Five contexts that all agree happen by chance once in sixteen.
    expect(
      comparePaired(
        observe(5, 4, () => 1),
        observe(5, 4, () => 0),
        'higher-is-better',
        options,
      ),
    ).toMatchObject({ verdict: 'not separable', pValue: 2 / 32 });
  });

  it('sees a small paired gain that unpaired intervals hide', () => {
    const random = randomStream(SEED);
    const difficulty = Array.from({ length: 30 }, () => 3 * normal(random));
    const against = observe(30, 1, (cluster) => (difficulty[cluster] ?? 0) + 0.1 * normal(random));
    const model = observe(30, 1, (cluster) => (difficulty[cluster] ?? 0) + 0.3 + 0.1 * normal(random));
    const [a, b] = [estimate(model, options), estimate(against, options)];
    expect((a?.low ?? 9) < (b?.high ?? -9)).toBe(true);
    expect(comparePaired(model, against, 'higher-is-better', options)?.verdict).toBe('better');
  });

  it('errs about as seldom as it claims when nothing differs, and finds what is there', () => {
    const random = randomStream(SEED);
    const trials = 300;
    const seen = { wrong: 0, found: 0 };
    for (let trial = 0; trial < trials; trial += 1) {
      const share = (probability: number) => observe(16, 3, () => (random() < probability ? 1 : 0));
      const [base, equal, good] = [share(0.3), share(0.3), share(0.65)];
      const seeded = { ...options, seed: `${SEED} ${trial}`, bounds: [0, 1] as const };
      if (comparePaired(equal, base, 'higher-is-better', seeded)?.verdict !== 'not separable')
        seen.wrong += 1;
      if (comparePaired(good, base, 'higher-is-better', seeded)?.verdict === 'better') seen.found += 1;
    }
    console.log(
      `seed ${SEED}: of ${trials} trials, ${seen.wrong} false verdicts, ${seen.found} real gains found`,
    );
    expect(seen.wrong / trials).toBeLessThan(0.08);
    expect(seen.found / trials).toBeGreaterThan(0.85);
  });
});
