/**
 * Telling a difference from noise. Evaluation samples come in clusters (all questions about one context, all tokens
 * of one row) that are drawn independently of each other, so clusters, not questions, are what is resampled. Models
 * are compared on the samples both answered, which takes the difficulty of the samples out of the difference.
 */

/** What can be said of a model against another. `not separable`: the difference can't be told from noise. */
export const VERDICTS = ['better', 'worse', 'not separable'] as const;
export type Verdict = (typeof VERDICTS)[number];

/** One measured value: `total / weight` is a mean (matches per question, nats per token). */
export interface Observation {
  /** Sample id; the same for every model. */
  readonly sample: string;
  /** What was drawn independently: the context a question is about, or the row. */
  readonly cluster: string;
  readonly total: number;
  readonly weight: number;
}

/** What an estimate rests on. */
interface Estimated {
  readonly mean: number;
  /** Observations behind it. */
  readonly samples: number;
  /** Independent clusters behind it. */
  readonly clusters: number;
}

/** A mean with its interval. Both ends are null where one cluster alone says nothing of how clusters differ. */
export interface Interval extends Estimated {
  readonly low: number | null;
  readonly high: number | null;
}

/** A share with its interval, which even one cluster gives: it lies between 0 and 1. */
export interface ShareInterval extends Estimated {
  readonly low: number;
  readonly high: number;
}

/** How intervals are made. */
export interface IntervalOptions {
  /** Confidence of the interval, for example 0.95. */
  readonly confidence: number;
  /** Bootstrap resamples. */
  readonly resamples: number;
  /** Names the pseudo-random stream: equal seeds and data give equal intervals. */
  readonly seed: string;
  /**
   * The least and most that one question can score, where there are bounds: 0 and 1 of exact answers. Without them, what no cluster
   * shows can't be reckoned with: that all agree then looks certain.
   */
  readonly bounds?: Bounds | undefined;
}

/** Least and most. */
export type Bounds = readonly [least: number, most: number];

/** Which way is good. */
export type Direction = 'higher-is-better' | 'lower-is-better';

/** A paired difference, model minus against. */
export interface PairedDifference extends Interval {
  /** Two-sided p-value of the sign-flip test: how often chance alone makes a difference this large. */
  readonly pValue: number;
  readonly verdict: Verdict;
}

/** Pseudo-random numbers in [0, 1): sfc32, seeded by the characters of a string. Not for secrets. */
export function randomStream(seed: string): () => number {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1];
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 4294967296;
  };
  for (const character of seed) {
    a ^= character.codePointAt(0) ?? 0;
    for (let round = 0; round < 4; round += 1) next();
  }
  for (let round = 0; round < 12; round += 1) next();
  return next;
}

interface Cluster {
  total: number;
  weight: number;
  samples: number;
  /** Least and most that one of its questions scored. */
  least: number;
  most: number;
}

function clustersOf(observations: readonly Observation[]): Cluster[] {
  const clusters = new Map<string, Cluster>();
  for (const { cluster, total, weight } of observations) {
    const entry = clusters.get(cluster) ?? {
      total: 0,
      weight: 0,
      samples: 0,
      least: Infinity,
      most: -Infinity,
    };
    entry.total += total;
    entry.weight += weight;
    entry.samples += 1;
    entry.least = Math.min(entry.least, total / weight);
    entry.most = Math.max(entry.most, total / weight);
    clusters.set(cluster, entry);
  }
  return [...clusters.values()];
}

/** Σ total / Σ weight; 0 where nothing was weighed. */
function ratio(clusters: readonly Cluster[]): number {
  let [total, weight] = [0, 0];
  for (const cluster of clusters) {
    total += cluster.total;
    weight += cluster.weight;
  }
  return weight === 0 ? 0 : total / weight;
}

/** Means of resamples drawn with replacement, ascending. */
function bootstrapMeans(clusters: readonly Cluster[], resamples: number, random: () => number): Float64Array {
  const means = new Float64Array(resamples);
  for (let index = 0; index < resamples; index += 1) {
    let [total, weight] = [0, 0];
    for (let left = clusters.length; left > 0; left -= 1) {
      const cluster = clusters[Math.floor(random() * clusters.length)];
      total += cluster?.total ?? 0;
      weight += cluster?.weight ?? 0;
    }
    means[index] = weight === 0 ? 0 : total / weight;
  }
  return means.sort();
}

/** Quantile of ascending values, linear between neighbours. */
function quantile(ascending: Float64Array, probability: number): number {
  const position = (ascending.length - 1) * probability;
  const below = Math.floor(position);
  const low = ascending[below] ?? 0;
  const high = ascending[below + 1] ?? low;
  return low + (high - low) * (position - below);
}

/** Φ: the standard normal distribution function (Abramowitz and Stegun 7.1.26, error below 1.5e-7). */
function normalCdf(z: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(z)) / Math.SQRT2);
  const series =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp((-z * z) / 2);
  return z > 0 ? 1 - tail : tail;
}

/** Φ⁻¹ by bisection of {@link normalCdf}, for probabilities in (0, 1). */
function normalQuantile(probability: number): number {
  let [low, high] = [-8, 8];
  for (let round = 0; round < 60; round += 1) {
    const middle = (low + high) / 2;
    if (normalCdf(middle) < probability) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/**
 * Student's t quantile: exact for one and two degrees of freedom, beyond by the expansion of Cornish and Fisher (Abramowitz and
 * Stegun 26.7.5), which errs by less than 1 % there.
 */
function studentQuantile(probability: number, degrees: number): number {
  if (degrees === 1) return Math.tan(Math.PI * (probability - 0.5));
  if (degrees === 2) return (2 * probability - 1) / Math.sqrt(2 * probability * (1 - probability));
  const z = normalQuantile(probability);
  const terms = [
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
  ];
  return terms.reduce((value, term, index) => value + term / degrees ** (index + 1), z);
}

/**
 * Tail probability for an expanded percentile interval. Plain bootstrap percentiles are too narrow for few
 * clusters; this widens them as Student's t widens a normal interval (Hesterberg 2015, section 5.3).
 */
function expandedTail(confidence: number, clusters: number): number {
  const tail = (1 - confidence) / 2;
  const widened = Math.sqrt(clusters / (clusters - 1)) * studentQuantile(1 - tail, clusters - 1);
  return 1 - normalCdf(widened);
}

/** Below this many clusters resamples of them don't reach far enough: none lies beyond the clusters themselves. */
const FEWEST_RESAMPLED = 6;

/** Standard error of the ratio of totals to weights over clusters, at least two. */
function standardError(clusters: readonly Cluster[]): number {
  const mean = ratio(clusters);
  const weight = clusters.reduce((sum, cluster) => sum + cluster.weight, 0);
  const residuals = clusters.reduce((sum, cluster) => sum + (cluster.total - mean * cluster.weight) ** 2, 0);
  return Math.sqrt((residuals * clusters.length) / (clusters.length - 1)) / weight;
}

/**
 * The clusters, and two made-up ones that scored the least and the most: what none has shown yet is reckoned with. They
 * weigh as much as a whole cluster where questions of a cluster were all answered alike (of one cluster alone: always), and
 * as much as one question where they never were.
 */
function withExtremes(clusters: readonly Cluster[], bounds: Bounds): Cluster[] {
  const alike =
    clusters.length === 1 ? 1 : clusters.filter(({ least, most }) => least === most).length / clusters.length;
  const weight = clusters.reduce((sum, cluster) => sum + cluster.weight, 0) / clusters.length;
  const weighing = Math.max(1, alike * weight);
  const extremes = bounds.map((score) => ({
    total: score * weighing,
    weight: weighing,
    samples: 0,
    least: score,
    most: score,
  }));
  return [...clusters, ...extremes];
}

/** Ends of an interval of scores between bounds: after Bonett and Price (2012), with clusters for questions. */
function boundedEnds(clusters: readonly Cluster[], bounds: Bounds, confidence: number): [number, number] {
  const counted = withExtremes(clusters, bounds);
  const [centre, mean] = [ratio(counted), ratio(clusters)];
  const half = studentQuantile(1 - (1 - confidence) / 2, counted.length - 1) * standardError(counted);
  return [
    Math.max(bounds[0], Math.min(mean, centre - half)),
    Math.min(bounds[1], Math.max(mean, centre + half)),
  ];
}

/** Ends of an interval of scores without bounds: Student's t for few clusters, else the bootstrap. */
function unboundedEnds(
  clusters: readonly Cluster[],
  options: IntervalOptions,
): [number, number] | [null, null] {
  const { length } = clusters;
  if (length < 2) return [null, null];
  if (length < FEWEST_RESAMPLED) {
    const half = studentQuantile(1 - (1 - options.confidence) / 2, length - 1) * standardError(clusters);
    return [ratio(clusters) - half, ratio(clusters) + half];
  }
  const means = bootstrapMeans(clusters, options.resamples, randomStream(options.seed));
  const tail = expandedTail(options.confidence, length);
  return [quantile(means, tail), quantile(means, 1 - tail)];
}

/**
 * Mean of the observations with its interval over clusters.
 * @returns undefined when there is nothing to average.
 */
export function estimate(
  observations: readonly Observation[],
  options: IntervalOptions,
): Interval | undefined {
  const clusters = clustersOf(observations).filter((cluster) => cluster.weight > 0);
  if (clusters.length === 0) return undefined;
  const [low, high] =
    options.bounds === undefined
      ? unboundedEnds(clusters, options)
      : boundedEnds(clusters, options.bounds, options.confidence);
  const samples = clusters.reduce((sum, cluster) => sum + cluster.samples, 0);
  return { mean: ratio(clusters), low, high, samples, clusters: clusters.length };
}

/**
 * How many independent questions say as much. Questions about one context tend to be answered alike: the variance over contexts,
 * relative to that of independent questions, is the design effect that their number is divided by. Where all answers are
 * alike nothing shows that they are independent: as many as there are contexts. The extremes are counted in, so that a single odd
 * answer doesn't show it either.
 */
function effectiveQuestions(clusters: readonly Cluster[], share: number, questions: number): number {
  if (clusters.length < 2 || share <= 0 || share >= 1) return clusters.length;
  const counted = withExtremes(clusters, [0, 1]);
  const [mean, all] = [ratio(counted), counted.reduce((sum, { weight }) => sum + weight, 0)];
  const designEffect = (standardError(counted) ** 2 * all) / (mean * (1 - mean));
  return questions / Math.max(1, designEffect);
}

/**
 * Share of ones among observations of 0 or 1, with Wilson's interval at the effective number of questions. Used
 * instead of the bootstrap because 0 of 20 or 20 of 20 correct leaves nothing to resample, yet is not certain.
 * @returns undefined when there are no observations.
 */
export function estimateShare(
  observations: readonly Observation[],
  options: Pick<IntervalOptions, 'confidence'>,
): ShareInterval | undefined {
  const clusters = clustersOf(observations);
  const questions = observations.length;
  if (questions === 0) return undefined;
  const mean = ratio(clusters);
  const effective = effectiveQuestions(clusters, mean, questions);
  const z = normalQuantile(1 - (1 - options.confidence) / 2);
  const centre = (mean + (z * z) / (2 * effective)) / (1 + (z * z) / effective);
  const half =
    (z * Math.sqrt((mean * (1 - mean)) / effective + (z * z) / (4 * effective * effective))) /
    (1 + (z * z) / effective);
  return {
    mean,
    low: Math.max(0, Math.min(mean, centre - half)),
    high: Math.min(1, Math.max(mean, centre + half)),
    samples: questions,
    clusters: clusters.length,
  };
}

/** Below this many clusters all sign patterns are gone through; from there on they are drawn. */
const EXHAUSTIVE_CLUSTERS = 12;

/**
 * Sign-flip test: if two models are equally good, each cluster's difference is as likely to have either sign. Exact
 * for few clusters, where the bootstrap alone is too ready to see a difference.
 */
function signFlipPValue(totals: readonly number[], resamples: number, random: () => number): number {
  const differing = totals.filter((total) => total !== 0);
  const observed = Math.abs(differing.reduce((sum, total) => sum + total, 0));
  // Sums of the same numbers in another order differ in their last bits.
  const threshold = observed * (1 - 1e-9);
  const exhaustive = differing.length <= EXHAUSTIVE_CLUSTERS;
  const patterns = exhaustive ? 2 ** differing.length : resamples;
  let extreme = 0;
  for (let pattern = 0; pattern < patterns; pattern += 1) {
    let sum = 0;
    differing.forEach((total, index) => {
      const negative = exhaustive ? (pattern >> index) % 2 === 1 : random() < 0.5;
      sum += negative ? -total : total;
    });
    if (Math.abs(sum) >= threshold) extreme += 1;
  }
  return exhaustive ? extreme / patterns : (extreme + 1) / (patterns + 1);
}

/** Differences of the samples that both sides have. Weights must agree; they come from the same samples. */
function pairs(model: readonly Observation[], against: readonly Observation[]): Observation[] {
  const other = new Map(against.map((observation) => [observation.sample, observation]));
  return model.flatMap((observation) => {
    const partner = other.get(observation.sample);
    if (partner === undefined) return [];
    if (partner.weight !== observation.weight) {
      throw new Error(`sample ${observation.sample} weighs ${observation.weight} and ${partner.weight}`);
    }
    return [{ ...observation, total: observation.total - partner.total }];
  });
}

/** What the difference of two scores between `bounds` lies between. */
function differenceBounds(bounds: Bounds | undefined): Bounds | undefined {
  return bounds === undefined ? undefined : [bounds[0] - bounds[1], bounds[1] - bounds[0]];
}

function excludesZero({ low, high }: Interval): boolean {
  return low !== null && high !== null && (low > 0 || high < 0);
}

/**
 * Difference of two models (model minus against) over the samples both have, with its paired interval and a verdict. A
 * verdict other than `not separable` needs both: an interval without zero, and a sign-flip test that chance passes less
 * often than `1 - confidence`. Each comparison stands alone; of many, some will err. `options.bounds` are of one model's score.
 * @returns undefined when no sample is shared.
 */
export function comparePaired(
  model: readonly Observation[],
  against: readonly Observation[],
  direction: Direction,
  options: IntervalOptions,
): PairedDifference | undefined {
  const differences = pairs(model, against);
  const interval = estimate(differences, { ...options, bounds: differenceBounds(options.bounds) });
  if (interval === undefined) return undefined;
  const totals = clustersOf(differences).map((cluster) => cluster.total);
  const pValue = signFlipPValue(totals, options.resamples, randomStream(`${options.seed} signs`));
  const separable = excludesZero(interval) && pValue < 1 - options.confidence;
  const good = direction === 'higher-is-better' ? interval.mean > 0 : interval.mean < 0;
  return { ...interval, pValue, verdict: separable ? (good ? 'better' : 'worse') : 'not separable' };
}
