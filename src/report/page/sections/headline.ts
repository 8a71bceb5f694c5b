/** The headline: what the recipe changed, with intervals and verdicts. */
import { intervalChart } from '../charts/interval-chart.js';
import { legend } from '../charts/series.js';
import { estimateCell, folded, gap, GAP_CELL, section, table, verdictTag } from '../elements.js';
import { findings } from '../../data/findings.js';
import { decimal, length, percent, plural, theta, tokenRange } from '../format.js';
import {
  baseOf,
  modelsWithRecall,
  promptTokensAt,
  RECALL_TASKS,
  recallComparison,
  recallLengths,
  recallOf,
  seriesOf,
} from '../../data/look-up.js';
import type { RecallTask } from '../../data/look-up.js';
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import type { Comparison, ReportData, ReportModel } from '../../data/report-data.js';

type RecallMetric = Exclude<Comparison['metric'], 'loss'>;

function verdictCell(
  data: ReportData,
  model: ReportModel,
  task: RecallTask,
  metric: RecallMetric,
  lengthTokens: number,
): Content {
  const base = baseOf(data);
  if (base === undefined || model.name === base.name) return null;
  const about = { task, metric, lengthTokens, model: model.name, against: base.name };
  const comparison = recallComparison(data, about);
  return comparison === undefined ? null : verdictTag(comparison.verdict);
}

function scoreCell(
  data: ReportData,
  model: ReportModel,
  task: RecallTask,
  metric: RecallMetric,
  lengthTokens: number,
): Content {
  const score = recallOf(data, task, model.name, lengthTokens);
  if (score === undefined) return GAP_CELL;
  const nats = (value: number) => decimal(value, 2);
  const cell =
    metric === 'exact-match'
      ? estimateCell(score.exactMatch, percent)
      : estimateCell(score.answerLogProbability, nats);
  return [cell, verdictCell(data, model, task, metric, lengthTokens)];
}

/** Models down, lengths across. */
function scoreTable(data: ReportData, task: RecallTask, metric: RecallMetric): Markup {
  const lengths = recallLengths(data, task);
  const columns = [
    { name: 'Model' },
    ...lengths.map((tokens) => ({ name: `${length(tokens)} tokens` })),
    { name: 'Trained up to' },
    { name: 'RoPE base' },
  ];
  const rows = modelsWithRecall(data, task).map((model) => [
    model.label,
    ...lengths.map((tokens) => scoreCell(data, model, task, metric, tokens)),
    model.trainedLengthTokens === null ? GAP_CELL : length(model.trainedLengthTokens),
    model.ropeTheta === null ? GAP_CELL : theta(model.ropeTheta),
  ]);
  return table(columns, rows);
}

function recallChart(data: ReportData, task: RecallTask, name: string): Markup {
  const models = modelsWithRecall(data, task);
  const groups = recallLengths(data, task).map((tokens) => ({
    label: `${length(tokens)} tokens`,
    points: models.flatMap((model, place) => {
      const score = recallOf(data, task, model.name, tokens);
      if (score === undefined) return [];
      const { mean, low, high, samples, clusters } = score.exactMatch;
      const title = `${model.label} at ${length(tokens)} tokens: ${percent(mean)} (${percent(low)} to ${percent(high)}), ${plural(samples, 'question')} about ${plural(clusters, 'context')}`;
      return [{ series: seriesOf(data, model.name), place, mean, low, high, title }];
    }),
  }));
  const summary = groups.flatMap(({ points }) => points.map(({ title }) => title)).join('; ');
  const text = {
    title: `${name} by context length`,
    description: summary,
    x: 'Length of prompt and answer, tokens',
    y: 'Answered exactly',
  };
  return intervalChart(text, groups, models.length);
}

function samplesNote(data: ReportData, task: RecallTask): string {
  const counts = recallLengths(data, task).flatMap((tokens) => {
    const score = data.scores.recall.find((one) => one.task === task && one.lengthTokens === tokens);
    if (score === undefined) return [];
    const asked = `${plural(score.exactMatch.samples, 'question')} about ${plural(score.exactMatch.clusters, 'context')}`;
    const range = promptTokensAt(data, task, tokens);
    return `${asked} at ${length(tokens)}${range === undefined ? '' : `, prompts of ${tokenRange(range)}`}`;
  });
  return `Per model: ${counts.join('; ')}. Intervals hold ${percent(data.scores.confidence)} of the time; verdicts compare with the base on the same questions.`;
}

function taskPart(data: ReportData, task: RecallTask, name: string): Content {
  const models = modelsWithRecall(data, task);
  if (models.length === 0) return gap(name);
  const looks = models.map((model) => ({ label: model.label, index: seriesOf(data, model.name) }));
  return [
    markup`<h3>${name}, answered exactly</h3>`,
    legend(looks, false),
    recallChart(data, task, name),
    scoreTable(data, task, 'exact-match'),
    markup`<p class="soft small">${samplesNote(data, task)}</p>`,
    folded('Log-probability of the right answer, nats per answer (nearer to 0 is better)', [
      scoreTable(data, task, 'answer-log-probability'),
    ]),
  ];
}

/** The section. */
export function headlineSection(data: ReportData): Markup {
  const [lead, ...others] = findings(data);
  return section('headline', 'What the recipe changed', [
    markup`<p class="lead">${lead ?? ''}</p>`,
    others.length > 0 && markup`<p>${others.join(' ')}</p>`,
    RECALL_TASKS.map(({ task, name }) => taskPart(data, task, name)),
  ]);
}
