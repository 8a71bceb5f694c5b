import { describe, expect, it } from 'vitest';
import { renderReport } from '../../../src/report/page/page.js';
import { reportDataSchema } from '../../../src/report/data/report-data.js';
import type { ReportData } from '../../../src/report/data/report-data.js';
import { EMPTY, SAMPLE } from './sample.js';

const SECTIONS = [
  'headline',
  'recall',
  'loss',
  'training',
  'course',
  'plan',
  'rope',
  'data',
  'artifacts',
  'environment',
  'recipe',
];

/** The page's visible text. */
function textOf(html: string): string {
  return html.replace(/<style>[\s\S]*?<\/style>/g, '').replace(/<[^>]*>/g, ' ');
}

describe('the page', () => {
  const html = renderReport(SAMPLE);

  it('has its sections in order, the recipe’s effect first', () => {
    const ids = [...html.matchAll(/<section id="([^"]+)">/g)].map(([, id]) => id);
    expect(ids).toEqual(SECTIONS);
  });

  it('loads nothing: no script, no image, no sheet, no import, and one link for people to follow', () => {
    expect(html).not.toMatch(/<(script|link|img|iframe|object|embed|base)\b/i);
    expect(html).not.toMatch(/\b(src|srcset|xlink:href|action)=/i);
    expect(html).not.toMatch(/@import|url\(/i);
    const addresses = [...html.matchAll(/https?:\/\/[^"<\s]+/g)].map(([address]) => address);
    expect(addresses).toEqual([SAMPLE.run.temporalUiUrl]);
  });

  it('describes every chart for readers who do not see it', () => {
    const charts = html.match(/<svg [^>]*role="img">/g) ?? [];
    const described = html.match(/role="img"><title>[^<]+<\/title><desc>[^<]+<\/desc>/g) ?? [];
    expect(charts.length).toBeGreaterThan(15);
    expect(described).toHaveLength(charts.length);
  });

  it('tells models apart by marker as well as by colour, and verdicts by sign and word', () => {
    expect(html).toContain('▲ better');
    expect(html).toContain('≈ not separable');
    const markers = [...html.matchAll(/<path d="([^"]+)" fill="var\(--model-(\d)\)"/g)];
    expect(new Set(markers.map(([, , colour]) => colour)).size).toBeGreaterThanOrEqual(5);
  });

  it('closes every element it opens', () => {
    const stack: string[] = [];
    for (const [, slash, name, own] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^>]*?(\/?)>/g)) {
      if (own === '/' || name === 'meta' || name === undefined) continue;
      if (slash === '/') expect(stack.pop()).toBe(name);
      else stack.push(name);
    }
    expect(stack).toEqual([]);
  });

  it('holds no number that is not one', () => {
    expect(html).not.toMatch(/NaN|Infinity|undefined/);
    expect(renderReport(EMPTY)).not.toMatch(/NaN|Infinity|undefined/);
  });
});

describe('hostile text', () => {
  it('stays text wherever it comes from', () => {
    const evil = '<script>alert(1)</script>"\'&';
    const swap = (text: string): string =>
      text.replaceAll('Stage 1', `Stage 1 ${evil}`).replaceAll('not valid UTF-8', `not valid ${evil}`);
    const hostile: ReportData = {
      ...SAMPLE,
      run: { ...SAMPLE.run, name: evil },
      recipe: { ...SAMPLE.recipe, preset: evil, resolved: { [evil]: evil } },
      models: SAMPLE.models.map((model) => ({ ...model, label: swap(model.label) })),
      stages: SAMPLE.stages.map((stage) => ({
        ...stage,
        label: swap(stage.label),
        note: evil,
        attempts: stage.attempts.map((attempt) => ({ ...attempt, message: evil })),
      })),
      training: SAMPLE.training.map((curve) => ({ ...curve, label: evil })),
      datasets: SAMPLE.datasets.map((dataset) => ({
        ...dataset,
        name: evil,
        sources: dataset.sources.map((source) => ({
          ...source,
          source: evil,
          badFiles: [{ path: evil, problem: evil }],
        })),
      })),
      environments: [{ stages: [evil], fingerprint: { [evil]: evil } }],
      notes: [evil],
    };
    const html = renderReport(hostile);
    expect(html).not.toContain('<script');
    expect(html.split('&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;').length).toBeGreaterThan(20);
  });
});

describe('gaps', () => {
  it('an empty run still makes a page, which says what was not measured', () => {
    const html = renderReport(EMPTY);
    const ids = [...html.matchAll(/<section id="([^"]+)">/g)].map(([, id]) => id);
    expect(ids).toEqual(SECTIONS);
    expect(textOf(html).match(/not measured/g)?.length).toBeGreaterThanOrEqual(9);
  });

  it('a model without scores at one length has a gap there, not a zero', () => {
    const recall = SAMPLE.scores.recall.filter(
      ({ model, lengthTokens }) => !(model === 'sft' && lengthTokens === 4096),
    );
    const html = renderReport({ ...SAMPLE, scores: { ...SAMPLE.scores, recall } });
    expect(html).toContain('SFT, 4K tokens, depth 0 %: not measured');
    expect(html).toMatch(/<th scope="row">SFT<\/th>.*?not measured/s);
  });

  it('what could not be read is told at the top', () => {
    const html = renderReport({ ...SAMPLE, notes: ['s3://bucket/x: is not JSON'] });
    expect(html.indexOf('s3://bucket/x: is not JSON')).toBeLessThan(html.indexOf('<section id="headline">'));
  });

  it('the data file holds the whole page’s data and is checked', () => {
    expect(reportDataSchema.parse(JSON.parse(JSON.stringify(SAMPLE)))).toEqual(SAMPLE);
    expect(reportDataSchema.safeParse({ ...SAMPLE, extra: 1 }).success).toBe(false);
  });
});
