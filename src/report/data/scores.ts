/** From evaluation records to score tables: means with intervals, and every model compared with base and parent. */
import type { EvaluationRecord, EvaluationResults } from '../../contracts/index.js';
import { comparePaired, estimate, estimateShare } from './statistics.js';
import type { Bounds, Direction, IntervalOptions, Observation } from './statistics.js';
import type { Comparison, LossScore, RecallScore, ReportModel, Scores } from './report-data.js';

type RecallRecord = Exclude<EvaluationRecord, { task: 'held-out-loss' }>;
type LossRecord = Extract<EvaluationRecord, { task: 'held-out-loss' }>;
type RecallMetric = 'exact-match' | 'answer-log-probability';

const CONFIDENCE = 0.95;
const RESAMPLES = 2000;
/** What one question scores: not exact, or exact. */
const EXACT_OR_NOT: Bounds = [0, 1];

/** Who a model is measured against: `startsFrom` and the base, each once. */
function opponents(model: ReportModel, models: readonly ReportModel[]): string[] {
  const bases = models.filter((other) => other.role === 'base').map((other) => other.name);
  const all = [...bases, ...(model.startsFrom === null ? [] : [model.startsFrom])];
  return [...new Set(all)].filter((name) => name !== model.name);
}

/** A context's questions share everything but their `-d<nn>` ending (docs/evaluation.md, sample ids). */
function contextOf(sample: string): string {
  return sample.replace(/-d\d+$/, '');
}

/** One value per question. The prompt's digest is part of the sample, so that only equal prompts pair. */
function recallObservations(records: readonly RecallRecord[], metric: RecallMetric): Observation[] {
  return records.map((record) => ({
    sample: `${record.sample} ${record.promptDigest}`,
    cluster: contextOf(record.sample),
    total: metric === 'exact-match' ? Number(record.exactMatch) : record.answerLogProbability,
    weight: 1,
  }));
}

/** One value per row: its loss between two positions. */
function lossObservations(records: readonly LossRecord[], from: number, to: number): Observation[] {
  return records.flatMap((record) =>
    record.buckets
      .filter((bucket) => bucket.from === from && bucket.to === to)
      .map((bucket) => ({
        sample: record.sample,
        cluster: record.sample,
        total: bucket.lossSum,
        weight: bucket.tokens,
      })),
  );
}

/** Groups by a readable key, keeping the order of first appearance. */
function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

function optionsFor(...name: (string | number)[]): IntervalOptions {
  return { confidence: CONFIDENCE, resamples: RESAMPLES, seed: name.join(' ') };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function depthsOf(records: readonly RecallRecord[]): RecallScore['depths'] {
  return [...groupBy(records, (record) => String(record.depth)).values()]
    .map((group) => ({
      depth: group[0]?.depth ?? 0,
      samples: group.length,
      exactMatch: mean(group.map((record) => Number(record.exactMatch))),
      answerLogProbability: mean(group.map((record) => record.answerLogProbability)),
    }))
    .sort((a, b) => a.depth - b.depth);
}

function promptTokensOf(records: readonly RecallRecord[]): RecallScore['promptTokens'] {
  const tokens = records.map((record) => record.promptTokens);
  return { fewest: Math.min(...tokens), most: Math.max(...tokens) };
}

function recallScores(records: readonly RecallRecord[]): RecallScore[] {
  const groups = groupBy(records, (record) => `${record.target} ${record.task} ${record.lengthTokens}`);
  return [...groups].flatMap(([name, group]) => {
    const [first] = group;
    const exactMatch = estimateShare(recallObservations(group, 'exact-match'), optionsFor(name));
    const answerLogProbability = estimate(
      recallObservations(group, 'answer-log-probability'),
      optionsFor(name),
    );
    if (first === undefined || exactMatch === undefined || answerLogProbability === undefined) return [];
    const { target, task, lengthTokens } = first;
    const promptTokens = promptTokensOf(group);
    const depths = depthsOf(group);
    return [{ model: target, task, lengthTokens, promptTokens, exactMatch, answerLogProbability, depths }];
  });
}

/** The buckets that appear in the records, ascending. */
function bucketsOf(records: readonly LossRecord[]): { from: number; to: number }[] {
  const buckets = groupBy(
    records.flatMap((record) => record.buckets),
    (bucket) => `${bucket.from}-${bucket.to}`,
  );
  return [...buckets.values()]
    .flatMap((group) => group.slice(0, 1))
    .map(({ from, to }) => ({ from, to }))
    .sort((a, b) => a.from - b.from || a.to - b.to);
}

function lossScores(records: readonly LossRecord[]): LossScore[] {
  const groups = groupBy(records, (record) => `${record.target} ${record.lengthTokens}`);
  return [...groups].flatMap(([name, group]) => {
    const [first] = group;
    if (first === undefined) return [];
    const buckets = bucketsOf(group).map(({ from, to }) => {
      const observations = lossObservations(group, from, to);
      return {
        from,
        to,
        tokens: observations.reduce((sum, observation) => sum + observation.weight, 0),
        loss: estimate(observations, optionsFor('loss', name, from, to)) ?? null,
      };
    });
    return [{ model: first.target, lengthTokens: first.lengthTokens, buckets }];
  });
}

/** Two lists of observations to compare, and what the comparison is about. */
interface Contest {
  readonly about: Pick<Comparison, 'task' | 'metric' | 'lengthTokens' | 'positions'>;
  readonly model: readonly Observation[];
  readonly against: readonly Observation[];
}

function recallContests(model: readonly RecallRecord[], against: readonly RecallRecord[]): Contest[] {
  const groups = groupBy(model, (record) => `${record.task} ${record.lengthTokens}`);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const { task, lengthTokens } = first;
    const others = against.filter((record) => record.task === task && record.lengthTokens === lengthTokens);
    return (['exact-match', 'answer-log-probability'] as const).map((metric) => ({
      about: { task, metric, lengthTokens, positions: null },
      model: recallObservations(group, metric),
      against: recallObservations(others, metric),
    }));
  });
}

function lossContests(model: readonly LossRecord[], against: readonly LossRecord[]): Contest[] {
  const groups = groupBy(model, (record) => String(record.lengthTokens));
  return [...groups.values()].flatMap((group) => {
    const lengthTokens = group[0]?.lengthTokens ?? 0;
    const others = against.filter((record) => record.lengthTokens === lengthTokens);
    return bucketsOf(group).map(({ from, to }) => ({
      about: {
        task: 'held-out-loss' as const,
        metric: 'loss' as const,
        lengthTokens,
        positions: { from, to },
      },
      model: lossObservations(group, from, to),
      against: lossObservations(others, from, to),
    }));
  });
}

function decide(model: string, against: string, contest: Contest): Comparison[] {
  const { task, metric, lengthTokens, positions } = contest.about;
  const direction: Direction = metric === 'loss' ? 'lower-is-better' : 'higher-is-better';
  const seed = optionsFor(model, against, task, metric, lengthTokens, positions?.from ?? '');
  const bounds = metric === 'exact-match' ? EXACT_OR_NOT : undefined;
  const result = comparePaired(contest.model, contest.against, direction, { ...seed, bounds });
  if (result === undefined) return [];
  const { verdict, pValue, ...difference } = result;
  return [{ model, against, ...contest.about, difference, pValue, verdict }];
}

/** Every record once: a model evaluated twice under the same key has the same samples twice. */
function distinct(results: readonly EvaluationResults[]): EvaluationRecord[] {
  const records = results.flatMap((result) => result.records);
  return [
    ...new Map(records.map((record) => [`${record.target} ${record.key} ${record.sample}`, record])).values(),
  ];
}

/**
 * Scores of all models over all evaluations of a run. Models that `models` doesn't name are scored, not compared.
 * @param results The evaluations' `results.json`, in any order.
 * @param models Evaluated models in order, with what each starts from.
 */
export function scoreTables(results: readonly EvaluationResults[], models: readonly ReportModel[]): Scores {
  const records = distinct(results);
  const recall = records.filter((record) => record.task !== 'held-out-loss');
  const loss = records.filter((record) => record.task === 'held-out-loss');
  const comparisons = models.flatMap((model) =>
    opponents(model, models).flatMap((against) => {
      const of = (target: string) => (record: { target: string }) => record.target === target;
      return [
        ...recallContests(recall.filter(of(model.name)), recall.filter(of(against))),
        ...lossContests(loss.filter(of(model.name)), loss.filter(of(against))),
      ].flatMap((contest) => decide(model.name, against, contest));
    }),
  );
  return { confidence: CONFIDENCE, recall: recallScores(recall), loss: lossScores(loss), comparisons };
}
