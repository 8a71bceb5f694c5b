/** The datasets a recipe needs: what its curation step makes. */
import { z } from 'zod';
import { sortedEntries } from '../lib/json.js';
import { formatLength } from '../recipe/quantities.js';
import { recipeSchema, rowsOf } from '../recipe/schema.js';
import type { MixPart, Recipe, RecipeTask } from '../recipe/schema.js';

/** Rows to train a stage on. */
export interface TrainingDatasetPlan {
  readonly purpose: 'training';
  /** The stage's name. */
  readonly name: string;
  readonly sequenceLengthTokens: number;
  readonly rows: number;
  readonly mix: readonly MixPart[];
  /** Rows carry a mask column: 1 on the assistant's tokens. */
  readonly masked: boolean;
}

/** Rows of held-out text for a task at one length; each row is a piece of one document at least as long. */
export interface HeldOutDatasetPlan {
  readonly purpose: 'held-out';
  /** Task and length: "needle-1k". */
  readonly name: string;
  readonly sequenceLengthTokens: number;
  readonly rows: number;
  readonly domains: readonly string[];
}

/** A dataset to curate. */
export type DatasetPlan = TrainingDatasetPlan | HeldOutDatasetPlan;

const planFields = {
  name: z.string().min(1).max(100),
  sequenceLengthTokens: z.int().positive(),
  rows: z.int().positive(),
};

/** A dataset to curate, as it comes in a message. */
export const datasetPlanSchema: z.ZodType<DatasetPlan> = z.discriminatedUnion('purpose', [
  z.strictObject({
    purpose: z.literal('training'),
    ...planFields,
    mix: recipeSchema.shape.stages.valueType.shape.mix,
    masked: z.boolean(),
  }),
  z.strictObject({
    purpose: z.literal('held-out'),
    ...planFields,
    domains: z.array(z.string().min(1)).min(1),
  }),
]);

/** Every dataset of a recipe: those of the stages, then those of the tasks that evaluations use. Sorted by name each. */
export function datasetsOf(recipe: Recipe): DatasetPlan[] {
  return [...trainingDatasets(recipe), ...heldOutDatasets(recipe)];
}

function trainingDatasets(recipe: Recipe): TrainingDatasetPlan[] {
  return sortedEntries(recipe.stages).map(([name, stage]) => ({
    purpose: 'training',
    name,
    sequenceLengthTokens: stage.sequenceLengthTokens,
    rows: rowsOf(stage),
    mix: stage.mix,
    masked: stage.objective === 'masked-tokens',
  }));
}

function heldOutDatasets(recipe: Recipe): HeldOutDatasetPlan[] {
  const used = new Set(Object.values(recipe.evaluations).flatMap((evaluation) => evaluation.tasks));
  return sortedEntries(recipe.tasks)
    .filter(([name]) => used.has(name))
    .flatMap(([name, task]) => heldOutOfTask(name, task));
}

function heldOutOfTask(name: string, task: RecipeTask): HeldOutDatasetPlan[] {
  switch (task.task) {
    case 'kv-recall':
      return [];
    case 'needle':
      return task.lengths.map(({ lengthTokens, contexts }) =>
        heldOut(name, task.domains, lengthTokens, contexts),
      );
    case 'held-out-loss':
      return task.lengths.map(({ lengthTokens, rows }) => heldOut(name, task.domains, lengthTokens, rows));
  }
}

function heldOut(
  task: string,
  domains: readonly string[],
  lengthTokens: number,
  rows: number,
): HeldOutDatasetPlan {
  const name = heldOutDatasetName(task, lengthTokens);
  return { purpose: 'held-out', name, sequenceLengthTokens: lengthTokens, rows, domains };
}

/** Name of the dataset that a task reads at a length: "needle-1k". */
export function heldOutDatasetName(task: string, lengthTokens: number): string {
  return `${task}-${formatLength(lengthTokens).toLowerCase()}`;
}

/** What a part of a mix is called in a dataset: its domain, with the length where the mix has several: "code@4096". */
export function mixPartName(part: MixPart, mix: readonly MixPart[]): string {
  const several = mix.filter((other) => other.domain === part.domain).length > 1;
  return several ? `${part.domain}@${part.lengthTokens ?? 'packed'}` : part.domain;
}
