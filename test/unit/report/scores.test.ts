import { describe, expect, it } from 'vitest';
import type { EvaluationResults } from '../../../src/contracts/index.js';
import { scoreTables } from '../../../src/report/data/scores.js';
import { MODELS, RESULTS } from './sample.js';

const scores = scoreTables(RESULTS, MODELS);
const records = RESULTS.flatMap((result) => result.records);

function recallRecords(target: string, lengthTokens: number) {
  return records
    .filter((record) => record.task !== 'held-out-loss')
    .filter(
      (record) =>
        record.task === 'kv-recall' && record.target === target && record.lengthTokens === lengthTokens,
    );
}

describe('recall scores', () => {
  it('are the shares of exact answers, in all and by depth', () => {
    const score = scores.recall.find(
      ({ model, task, lengthTokens }) => model === 'stage-2' && task === 'kv-recall' && lengthTokens === 1024,
    );
    const own = recallRecords('stage-2', 1024);
    const right = own.filter(({ exactMatch }) => exactMatch).length;
    expect(score?.exactMatch).toMatchObject({ mean: right / own.length, samples: own.length, clusters: 12 });
    expect(score?.promptTokens).toEqual({ fewest: 1016, most: 1016 });
    expect(score?.depths.map(({ depth, samples }) => [depth, samples])).toEqual(
      [0, 0.25, 0.5, 0.75, 1].map((depth) => [depth, 12]),
    );
    const byDepth = score?.depths.reduce((sum, { exactMatch, samples }) => sum + exactMatch * samples, 0);
    expect(byDepth).toBeCloseTo(right, 9);
  });

  it('count a record once when two evaluations hold it', () => {
    expect(scoreTables([...RESULTS, ...RESULTS], MODELS)).toEqual(scores);
  });
});

describe('loss scores', () => {
  it('are nats per token over all rows of a bucket', () => {
    const bucket = scores.loss.find(({ model }) => model === 'base')?.buckets[0];
    const own = records
      .filter((record) => record.task === 'held-out-loss')
      .filter((record) => record.target === 'base');
    const [total, tokens] = own.reduce(
      ([sum, count], { buckets: [first] }) => [sum + (first?.lossSum ?? 0), count + (first?.tokens ?? 0)],
      [0, 0],
    );
    expect(bucket).toMatchObject({ from: 0, to: 64, tokens });
    expect(bucket?.loss?.mean).toBeCloseTo(total / tokens, 9);
  });

  it('have a gap where a bucket holds no token', () => {
    const [first] = RESULTS;
    const empty: EvaluationResults[] = [
      {
        schema: 'longhaul.results/1',
        targets: first?.targets ?? [],
        records: records
          .filter((record) => record.task === 'held-out-loss')
          .slice(0, 1)
          .map((record) => ({ ...record, buckets: [{ from: 0, to: 1, tokens: 0, lossSum: 0 }] })),
      },
    ];
    expect(scoreTables(empty, MODELS).loss[0]?.buckets[0]).toMatchObject({ tokens: 0, loss: null });
  });
});

describe('comparisons', () => {
  it('are with the base and with what a model starts from', () => {
    const against = (name: string) => [
      ...new Set(scores.comparisons.filter(({ model }) => model === name).map((one) => one.against)),
    ];
    expect(against('base')).toEqual([]);
    expect(against('stage-1')).toEqual(['base']);
    expect(against('sft')).toEqual(['base', 'stage-2']);
  });

  it('pair only equal prompts: another tokenizer’s samples are not compared', () => {
    const other = RESULTS.map((result) => ({
      ...result,
      records: result.records.map((record) =>
        record.task === 'held-out-loss' || record.target !== 'stage-1'
          ? record
          : {
              ...record,
              promptDigest:
                records.flatMap((r) => (r.task === 'needle' ? [r.promptDigest] : []))[0] ??
                record.promptDigest,
            },
      ),
    }));
    const recall = scoreTables(other, MODELS).comparisons.filter(
      ({ model, task }) => model === 'stage-1' && task === 'kv-recall',
    );
    expect(recall).toEqual([]);
  });

  it('find what the sample was made with', () => {
    const verdict = (model: string, lengthTokens: number) =>
      scores.comparisons.find(
        (one) =>
          one.model === model &&
          one.against === 'base' &&
          one.task === 'kv-recall' &&
          one.metric === 'exact-match' &&
          one.lengthTokens === lengthTokens,
      )?.verdict;
    expect(verdict('stage-1', 1024)).toBe('better');
    expect(verdict('stage-2', 256)).toBe('not separable');
    expect(verdict('base-at-stage-1-theta', 256)).toBe('worse');
  });
});
