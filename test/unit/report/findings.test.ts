import { describe, expect, it } from 'vitest';
import { findings } from '../../../src/report/data/findings.js';
import { renderReport } from '../../../src/report/page/page.js';
import type { ReportData } from '../../../src/report/data/report-data.js';
import { EMPTY, MODELS, RESULTS, SAMPLE } from './sample.js';
import { scoreTables } from '../../../src/report/data/scores.js';

/** The sample with other means: what the sentences say must follow. */
function withRecall(change: (model: string, lengthTokens: number) => number | undefined): ReportData {
  const recall = SAMPLE.scores.recall.map((score) => ({
    ...score,
    exactMatch: {
      ...score.exactMatch,
      mean:
        (score.task === 'kv-recall' ? change(score.model, score.lengthTokens) : undefined) ??
        score.exactMatch.mean,
    },
  }));
  return { ...SAMPLE, scores: { ...SAMPLE.scores, recall } };
}

describe('findings', () => {
  it('take every number from the data', () => {
    const shares: Record<string, number> = {
      base: 0.11,
      'base-at-stage-1-theta': 0.13,
      'stage-2': 0.17,
      sft: 0.19,
    };
    const text = findings(withRecall((model, length) => (length === 4096 ? shares[model] : 0.23))).join(' ');
    const numbers = new Set([...text.matchAll(/\d+/g)].map(([number]) => number));
    // 4K and 1K and 256 are lengths, 16 is 4,096 by 256; 4,088, 1,016 and 248 are prompts; "Stage 2" is a label.
    const prompts = ['088', '016', '248'];
    expect(numbers).toEqual(new Set(['4', '16', '2', '17', '11', '256', '23', '1', '13', '19', ...prompts]));
  });

  it('lead with the longest length that got better, beyond what the base was trained on', () => {
    expect(findings(SAMPLE)[0]).toMatch(
      /^At 4K tokens \(prompts of 4,088 tokens\), 16 times the length the base was trained on, Stage 2 /,
    );
    const comparisons = SAMPLE.scores.comparisons.map((comparison) =>
      comparison.lengthTokens === 4096 ? { ...comparison, verdict: 'not separable' as const } : comparison,
    );
    const only1k = { ...SAMPLE, scores: { ...SAMPLE.scores, comparisons } };
    expect(findings(only1k)[0]).toMatch(/^At 1K tokens \(prompts of 1,016 tokens\), 4 times .*: better\.$/);
    expect(findings(only1k)[1]).toMatch(
      /at 4K \(prompts of 4,088 tokens\) it is .* \(not separable from noise\)/,
    );
  });

  it('name the tokens that prompts really had, not only the length that was asked for', () => {
    const short = RESULTS.map((result) => ({
      ...result,
      records: result.records.map((record, index) =>
        record.task === 'kv-recall' && record.lengthTokens === 4096
          ? { ...record, promptTokens: 2990 + (index % 3) }
          : record,
      ),
    }));
    const data = { ...SAMPLE, scores: scoreTables(short, MODELS) };
    expect(findings(data)[0]).toContain('At 4K tokens (prompts of 2,990 to 2,992 tokens), ');
    expect(renderReport(data)).toContain('about 8 contexts at 4K, prompts of 2,990 to 2,992 tokens');
  });

  it('say so when nothing got better, and when it got worse', () => {
    const judged = (verdict: 'worse' | 'not separable') => ({
      ...SAMPLE,
      scores: {
        ...SAMPLE.scores,
        comparisons: SAMPLE.scores.comparisons.map((comparison) => ({ ...comparison, verdict })),
      },
    });
    expect(findings(judged('not separable'))[0]).toMatch(/: not separable from noise\.$/);
    expect(findings(judged('worse'))[0]).toMatch(/: worse\.$/);
  });

  it('say when there are too few contexts to separate anything', () => {
    const few = RESULTS.map((result) => ({
      ...result,
      records: result.records.filter((record) => /-c[0-4]-/.test(record.sample)),
    }));
    const text = findings({ ...SAMPLE, scores: scoreTables(few, MODELS) }).at(-1);
    expect(text).toBe(
      'Too few to tell any difference from noise: 5 contexts at 256, 5 contexts at 1K, 5 contexts at 4K; it takes at least 6.',
    );
  });

  it('do not pretend when recall was not measured or not paired', () => {
    expect(findings(EMPTY)).toEqual([
      'Recall was not measured for both the base and a trained stage, so there is no effect to report.',
    ]);
    const unpaired = { ...SAMPLE, scores: { ...SAMPLE.scores, comparisons: [] } };
    expect(findings(unpaired)).toEqual([
      'The base and the trained stages share no samples, so they were not compared.',
    ]);
  });
});
