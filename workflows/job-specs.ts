/** From a step of the recipe to the spec of its job. Pure: the same recipe and inputs give the same spec, byte for byte. */
import type { ConfigRef } from '../activities/rope-bump.js';
import type {
  CheckpointRef,
  DatasetRef,
  Digest,
  EvaluateSpec,
  EvaluationTarget,
  EvaluationTask,
  ModelRef,
  TrainSpec,
} from '../src/contracts/index.js';
import { runLayout } from '../src/contracts/layout.js';
import { heldOutDatasetName } from '../src/domain/walk/datasets.js';
import { stepsOf } from '../src/domain/recipe/schema.js';
import type { Recipe, RecipeTask } from '../src/domain/recipe/schema.js';
import { scheduleOf } from '../src/domain/walk/schedule.js';
import type { EvaluationStep, ModelSource, TrainingStep } from '../src/domain/walk/walk.js';

/** What a finished training stage leaves for the stages after it. */
export interface TrainedModel {
  readonly checkpoint: CheckpointRef;
  readonly model: ModelRef;
}

/** What the steps before have made, by name. */
export interface Inputs {
  readonly run: string;
  readonly runUrl: string;
  readonly recipeDigest: Digest;
  readonly recipe: Recipe;
  readonly base: ModelRef;
  readonly tokenizer: ModelRef;
  readonly baseConfig: ConfigRef;
  /** By dataset name. */
  readonly datasets: ReadonlyMap<string, DatasetRef>;
  /** By folder of the RoPE bump. */
  readonly configs: ReadonlyMap<string, ConfigRef>;
  /** By stage name. */
  readonly trained: ReadonlyMap<string, TrainedModel>;
}

/** Event files: quickly on a laptop, where somebody watches; else as often as the contract allows. */
const FLUSH_SECONDS = { cpu: 1, cuda: 5 } as const;
const FLUSH_BYTES = 1024 * 1024;

/** Spec of a training or SFT job. */
export function trainSpec(step: TrainingStep, inputs: Inputs): TrainSpec {
  const { settings } = step;
  return {
    ...jobBase(step.folder, inputs),
    kind: 'train',
    initialize: initialize(step.source, settings.moments, inputs),
    config: configOf(step, inputs),
    tokenizer: inputs.tokenizer,
    data: {
      dataset: required(inputs.datasets, step.stage, 'dataset'),
      sequenceLengthTokens: settings.sequenceLengthTokens,
      globalBatchTokens: settings.globalBatchTokens,
      steps: stepsOf(settings),
      documentMasking: settings.documentMasking,
    },
    objective: settings.objective,
    ...(settings.lossMean === undefined ? {} : { lossMean: settings.lossMean }),
    optimizer: settings.optimizer,
    schedule: scheduleOf(settings),
    seed: inputs.recipe.seed,
    checkpoints: settings.checkpoints,
    ...numerics(inputs.recipe),
    ...(inputs.recipe.export === undefined ? {} : { export: inputs.recipe.export }),
  };
}

/** Spec of an evaluation job. */
export function evaluateSpec(step: EvaluationStep, inputs: Inputs): EvaluateSpec {
  return {
    ...jobBase(step.folder, inputs),
    kind: 'evaluate',
    targets: step.targets.map(({ name, source, ropeTheta }) => ({
      name,
      model: modelOf(source, inputs),
      ...(ropeTheta === undefined ? {} : { ropeTheta, ...scaling(inputs.recipe) }),
    })),
    tasks: step.tasks.flatMap(({ name, settings }) => tasksOf(name, settings, inputs)),
  };
}

function jobBase(folder: string, { run, runUrl, recipeDigest, recipe }: Inputs) {
  return {
    schema: 'longhaul.job-spec/1' as const,
    run,
    stage: folder,
    stageUrl: runLayout(runUrl).stage(folder),
    recipeDigest,
    runtime: recipe.runtime,
    events: { flushSeconds: FLUSH_SECONDS[recipe.runtime.device], flushBytes: FLUSH_BYTES },
  };
}

function initialize(
  source: ModelSource,
  moments: 'carry' | 'fresh',
  inputs: Inputs,
): TrainSpec['initialize'] {
  if (source.from === 'base') return { from: 'model', model: inputs.base };
  const { checkpoint } = required(inputs.trained, source.stage, 'trained stage');
  return { from: 'checkpoint', checkpoint, moments };
}

function configOf(step: TrainingStep, inputs: Inputs): ConfigRef {
  return step.configFrom === null ? inputs.baseConfig : required(inputs.configs, step.configFrom, 'config');
}

/** When a finite loss counts as broken; without it only NaN and infinity do. */
function numerics({ execution }: Recipe): Pick<TrainSpec, 'numerics'> {
  const { spikeFactor, spikeWindowSteps } = execution.numerics;
  return spikeFactor === null ? {} : { numerics: { spikeFactor, spikeWindowSteps } };
}

/** Where the base changes, a scaling of RoPE goes as it does in a bump. */
function scaling({ base }: Recipe): Pick<EvaluationTarget, 'ropeScaling'> {
  return base.ropeScaling === undefined ? {} : { ropeScaling: base.ropeScaling };
}

function modelOf(source: ModelSource, inputs: Inputs): ModelRef {
  return source.from === 'base' ? inputs.base : required(inputs.trained, source.stage, 'trained stage').model;
}

function tasksOf(name: string, task: RecipeTask, inputs: Inputs): EvaluationTask[] {
  const { seed } = inputs.recipe;
  const dataset = (lengthTokens: number) =>
    required(inputs.datasets, heldOutDatasetName(name, lengthTokens), 'dataset');
  switch (task.task) {
    case 'kv-recall':
      return task.lengths.map((length) => ({ task: 'kv-recall', ...length, depths: task.depths, seed }));
    case 'needle':
      return task.lengths.map((length) => ({
        task: 'needle',
        ...length,
        depths: task.depths,
        seed,
        haystack: dataset(length.lengthTokens),
      }));
    case 'held-out-loss':
      return task.lengths.map(({ lengthTokens, rows }) => ({
        task: 'held-out-loss',
        lengthTokens,
        rows,
        dataset: dataset(lengthTokens),
        bucketEdges: task.bucketEdges.filter((edge) => edge < lengthTokens),
      }));
  }
}

function required<T>(map: ReadonlyMap<string, T>, key: string, what: string): T {
  const value = map.get(key);
  if (value === undefined) throw new Error(`the walk reached a step before its ${what} ${key}`);
  return value;
}
