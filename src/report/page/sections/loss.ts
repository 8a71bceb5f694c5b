/** Held-out loss by position: whether a model makes use of the text far back. */
import { lineChart } from '../charts/line-chart.js';
import type { Line } from '../charts/line-chart.js';
import { legend } from '../charts/series.js';
import { estimateCell, figure, folded, gap, GAP_CELL, section, table, verdictTag } from '../elements.js';
import { decimal, integer, intervalText, length } from '../format.js';
import { ascending, baseOf, seriesOf } from '../../data/look-up.js';
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import type { LossScore, ReportData, ReportModel } from '../../data/report-data.js';

type Bucket = LossScore['buckets'][number];

function lossOf(data: ReportData, model: string, lengthTokens: number): LossScore | undefined {
  return data.scores.loss.find((score) => score.model === model && score.lengthTokens === lengthTokens);
}

function range({ from, to }: Bucket): string {
  return `${length(from)}–${length(to)}`;
}

/** Where a bucket is drawn: the geometric middle of its positions, as the axis is logarithmic. */
function middle({ from, to }: Bucket): number {
  return Math.sqrt(Math.max(from, to / 4) * to);
}

function lineOf(data: ReportData, model: ReportModel, score: LossScore): Line {
  const points = score.buckets.flatMap((bucket) => {
    if (bucket.loss === null) return [];
    const { mean, low, high } = bucket.loss;
    const nats = (value: number) => decimal(value, 3);
    const title = `${model.label}, positions ${range(bucket)}: ${nats(mean)} (${intervalText(bucket.loss, nats)}) nats per token`;
    const ends = low === null || high === null ? {} : { low, high };
    return [{ x: middle(bucket), y: mean, ...ends, title }];
  });
  return { series: seriesOf(data, model.name), points, markers: true };
}

function chart(data: ReportData, lengthTokens: number, scores: ReadonlyMap<ReportModel, LossScore>): Markup {
  const lines = [...scores].map(([model, score]) => lineOf(data, model, score));
  const edges = ascending([...scores.values()].flatMap((score) => score.buckets.map(({ to }) => to)));
  return lineChart({
    text: {
      title: `Held-out loss by position in rows of ${length(lengthTokens)} tokens`,
      description: lines.flatMap((line) => line.points.map(({ title }) => title ?? '')).join('; '),
      x: 'Position in the row, tokens (logarithmic)',
      y: 'Loss, nats per token',
    },
    lines,
    xTicks: edges.map((value) => ({ value, label: length(value) })),
    xScale: 'log',
    fromZero: false,
    formatX: length,
    formatY: (value) => decimal(value, 2),
    size: { width: 720, height: 320 },
  });
}

function verdictOf(data: ReportData, model: ReportModel, lengthTokens: number, bucket: Bucket): Content {
  const base = baseOf(data);
  const comparison = data.scores.comparisons.find(
    (one) =>
      one.task === 'held-out-loss' &&
      one.model === model.name &&
      one.against === base?.name &&
      one.lengthTokens === lengthTokens &&
      one.positions?.from === bucket.from &&
      one.positions.to === bucket.to,
  );
  return comparison === undefined ? null : verdictTag(comparison.verdict);
}

function lossTable(
  data: ReportData,
  lengthTokens: number,
  scores: ReadonlyMap<ReportModel, LossScore>,
): Markup {
  const [first] = scores.values();
  const buckets = first?.buckets ?? [];
  const columns = [
    { name: 'Model' },
    ...buckets.map((bucket) => ({ name: `${integer(bucket.from)} to ${integer(bucket.to)}` })),
  ];
  const nats = (value: number) => decimal(value, 2);
  const rows = [...scores].map(([model, score]) => [
    model.label,
    ...score.buckets.map((bucket) =>
      bucket.loss === null
        ? GAP_CELL
        : [estimateCell(bucket.loss, nats), verdictOf(data, model, lengthTokens, bucket)],
    ),
  ]);
  return table(columns, rows);
}

function lengthPart(data: ReportData, lengthTokens: number): Content {
  const scores = new Map(
    data.models.flatMap((model) => {
      const score = lossOf(data, model.name, lengthTokens);
      return score === undefined ? [] : [[model, score] as const];
    }),
  );
  const looks = [...scores.keys()].map((model) => ({
    label: model.label,
    index: seriesOf(data, model.name),
  }));
  return [
    legend(looks, true),
    figure(`Rows of ${length(lengthTokens)} tokens`, chart(data, lengthTokens, scores)),
    folded('The numbers, with verdicts against the base', lossTable(data, lengthTokens, scores)),
  ];
}

/** The section. */
export function lossSection(data: ReportData): Markup {
  const lengths = ascending(data.scores.loss.map((score) => score.lengthTokens));
  const content =
    lengths.length === 0
      ? gap('Held-out loss')
      : lengths.map((lengthTokens) => lengthPart(data, lengthTokens));
  return section('loss', 'Held-out loss by position', [
    markup`<p class="soft">Cross-entropy on text set aside before training; lower is better. A model that uses long contexts keeps
      falling to the right, one past its length rises.</p>`,
    content,
  ]);
}
