/** Finding things in `ReportData`. */
import type { Comparison, RecallScore, ReportData, ReportModel } from './report-data.js';

/** Recall tasks by the name the page gives them. */
export const RECALL_TASKS = [
  { task: 'kv-recall', name: 'Key-value recall' },
  { task: 'needle', name: 'Needle in held-out text' },
] as const;
export type RecallTask = (typeof RECALL_TASKS)[number]['task'];

/** Ascending distinct numbers. */
export function ascending(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

/** Lengths at which any model did a task. */
export function recallLengths(data: ReportData, task: RecallTask): number[] {
  return ascending(
    data.scores.recall.filter((score) => score.task === task).map((score) => score.lengthTokens),
  );
}

/** The recall of a model; undefined when it was not measured. */
export function recallOf(
  data: ReportData,
  task: RecallTask,
  model: string,
  lengthTokens: number,
): RecallScore | undefined {
  return data.scores.recall.find(
    (score) => score.task === task && score.model === model && score.lengthTokens === lengthTokens,
  );
}

/** Fewest and most tokens of all models' prompts on a task at a length; undefined when none was measured. */
export function promptTokensAt(
  data: ReportData,
  task: RecallTask,
  lengthTokens: number,
): RecallScore['promptTokens'] | undefined {
  const ranges = data.scores.recall
    .filter((score) => score.task === task && score.lengthTokens === lengthTokens)
    .map((score) => score.promptTokens);
  if (ranges.length === 0) return undefined;
  return {
    fewest: Math.min(...ranges.map(({ fewest }) => fewest)),
    most: Math.max(...ranges.map(({ most }) => most)),
  };
}

/** The comparison of two models on a recall task; undefined when they share no samples. */
export function recallComparison(
  data: ReportData,
  about: Pick<Comparison, 'task' | 'metric' | 'lengthTokens' | 'model' | 'against'>,
): Comparison | undefined {
  return data.scores.comparisons.find(
    (comparison) =>
      comparison.task === about.task &&
      comparison.metric === about.metric &&
      comparison.lengthTokens === about.lengthTokens &&
      comparison.model === about.model &&
      comparison.against === about.against,
  );
}

/** The model that everything is compared with. */
export function baseOf(data: ReportData): ReportModel | undefined {
  return data.models.find((model) => model.role === 'base');
}

/** Models with any recall score on a task, in the report's order. */
export function modelsWithRecall(data: ReportData, task: RecallTask): ReportModel[] {
  return data.models.filter((model) =>
    data.scores.recall.some((score) => score.task === task && score.model === model.name),
  );
}

/** Place of a model in the report's order: decides its colour and marker. */
export function seriesOf(data: ReportData, model: string): number {
  return Math.max(
    0,
    data.models.findIndex((other) => other.name === model),
  );
}
