/** Recall by length and depth, one heat map per model. */
import { heatMap } from '../charts/heat-map.js';
import type { HeatCell } from '../charts/heat-map.js';
import { figure, gap, section } from '../elements.js';
import { decimal, length, percent } from '../format.js';
import { ascending, modelsWithRecall, RECALL_TASKS, recallLengths, recallOf } from '../../data/look-up.js';
import type { RecallTask } from '../../data/look-up.js';
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import type { ReportData, ReportModel } from '../../data/report-data.js';

function depthsOf(data: ReportData, task: RecallTask): number[] {
  const scores = data.scores.recall.filter((score) => score.task === task);
  return ascending(scores.flatMap((score) => score.depths.map(({ depth }) => depth)));
}

function cellOf(
  data: ReportData,
  task: RecallTask,
  model: ReportModel,
  tokens: number,
  depth: number,
): HeatCell {
  const where = `${model.label}, ${length(tokens)} tokens, depth ${percent(depth)}`;
  const score = recallOf(data, task, model.name, tokens)?.depths.find((one) => one.depth === depth);
  if (score === undefined) return { value: null, title: `${where}: not measured` };
  const { exactMatch, samples, answerLogProbability } = score;
  const nats = decimal(answerLogProbability, 2);
  return {
    value: exactMatch,
    title: `${where}: ${percent(exactMatch)} of ${samples} answered exactly, log-probability ${nats} nats`,
  };
}

function modelMap(data: ReportData, task: RecallTask, name: string, model: ReportModel): Markup {
  const lengths = recallLengths(data, task);
  const depths = depthsOf(data, task);
  const rows = depths.map((depth) => ({
    label: percent(depth),
    cells: lengths.map((tokens) => cellOf(data, task, model, tokens, depth)),
  }));
  const map = heatMap({
    title: `${name} of ${model.label} by length and depth`,
    description: rows.flatMap((row) => row.cells.map((cell) => cell.title)).join('; '),
    x: 'Length, tokens',
    y: 'Depth',
    columns: lengths.map(length),
    rows,
  });
  return figure(model.label, map);
}

function taskPart(data: ReportData, task: RecallTask, name: string): Content {
  const models = modelsWithRecall(data, task);
  if (models.length === 0) return gap(name);
  const maps = models.map((model) => modelMap(data, task, name, model));
  return markup`<h3>${name}</h3><div class="charts small-multiples">${maps}</div>`;
}

/** The section. */
export function recallSection(data: ReportData): Markup {
  return section('recall', 'Recall by length and depth', [
    markup`<p class="soft">Share of questions answered exactly. Depth 0 % is the start of the context, 100 % its end.</p>`,
    RECALL_TASKS.map(({ task, name }) => taskPart(data, task, name)),
  ]);
}
