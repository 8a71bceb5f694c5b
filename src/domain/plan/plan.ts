/** What a recipe comes to before it runs: steps, tokens, FLOPs, hours, cost, checkpoints. Plain JSON. */
import { datasetsOf, mixPartName } from '../walk/datasets.js';
import {
  FORWARD_SHARE,
  checkpointBytes,
  datasetBytes,
  exportBytes,
  parametersOf,
  trainingFlopsPerToken,
} from './cost.js';
import type { TokenFlops } from './cost.js';
import type { CheckpointPlan, Effort, EvaluationPlan, PartPlan, Plan, StagePlan } from './types.js';
import { intervalNotices, plannedInterval, planPreemption } from './preemption.js';
import { PROLONG_8B_READINGS } from '../recipe/presets/prolong-8b.js';
import { isWhole, recipeNotices } from '../recipe/checks.js';
import { recipeDigest } from '../recipe/parse.js';
import { rowsOf, stepsOf } from '../recipe/schema.js';
import type { MixPart, Recipe, RecipeTask, TrainingStage } from '../recipe/schema.js';
import { scheduleOf, schedulePoints } from '../walk/schedule.js';
import { walk } from '../walk/walk.js';
import type { EvaluationStep, Step, TrainingStep } from '../walk/walk.js';

export { formatPlan } from './text.js';
export type * from './types.js';

/** Reckons a recipe through. */
export function plan(recipe: Recipe): Plan {
  const steps = walk(recipe);
  const stages = steps.flatMap((step) =>
    step.kind === 'training' || step.kind === 'sft' ? [planStage(recipe, step, steps)] : [],
  );
  const evaluations = steps.flatMap((step) =>
    step.kind === 'evaluation' ? [planEvaluation(recipe, step)] : [],
  );
  const { base, cost } = recipe;
  return {
    recipe: recipe.name,
    preset: recipe.preset,
    digest: recipeDigest(recipe),
    base: {
      model: base.model.source === 'bundled' ? base.model.name : base.model.url,
      lengthTokens: base.lengthTokens,
      ropeTheta: base.ropeTheta,
      parameters: parametersOf(base.architecture),
    },
    gpu: cost.gpu,
    gpus: cost.gpus,
    pricePerGpuHour: cost.pricePerGpuHour,
    graceSeconds: recipe.execution.graceSeconds,
    interruptions: cost.interruptions,
    steps: steps.map(({ folder, title, kind }) => ({ folder, title, kind })),
    stages,
    evaluations,
    total: totalOf(recipe, stages, evaluations),
    notices: [...recipeNotices(recipe), ...intervalNotices(stages)],
    readings: recipe.preset === 'prolong-8b' ? PROLONG_8B_READINGS : [],
  };
}

function planStage(recipe: Recipe, step: TrainingStep, steps: readonly Step[]): StagePlan {
  const { settings: stage } = step;
  const bump = steps.find((other) => other.kind === 'rope-bump' && other.stage === step.stage);
  const flopsPerToken = flopsOfMix(recipe, stage);
  const flops = stage.tokens * (flopsPerToken.matmul + flopsPerToken.attention);
  const effort = effortOf(recipe, flops, recipe.cost.stageMfu[step.stage] ?? recipe.cost.mfu);
  const stepSeconds = (effort.wallHours * 3600) / stepsOf(stage);
  return {
    name: step.stage,
    folder: step.folder,
    title: step.title,
    kind: step.kind,
    from: stage.from,
    moments: stage.moments,
    documentMasking: stage.documentMasking,
    sequenceLengthTokens: stage.sequenceLengthTokens,
    ropeTheta: stage.ropeTheta,
    bump: bump?.kind === 'rope-bump' ? bump.bump : null,
    steps: stepsOf(stage),
    tokens: stage.tokens,
    rows: rowsOf(stage),
    globalBatchTokens: stage.globalBatchTokens,
    rowsPerStep: stage.globalBatchTokens / stage.sequenceLengthTokens,
    parts: stage.mix.map((part) => planPart(part, stage)),
    peak: stage.schedule.peak,
    floor: stage.schedule.floor,
    warmupTokens: scheduleOf(stage).warmupTokens,
    schedule: schedulePoints(stage),
    flopsPerToken,
    effort,
    checkpoints: planCheckpoints(recipe, stage, plannedInterval(recipe, stage, stepSeconds)),
    exportBytes: exportBytes(recipe.base.architecture, recipe.export?.weights ?? 'float32'),
    datasetBytes: datasetBytes(stage.tokens, stage.objective === 'masked-tokens'),
    preemption: planPreemption(recipe, stage, stepSeconds, stepsOf(stage)),
  };
}

function planPart(part: MixPart, stage: TrainingStage): PartPlan {
  const exact = part.share * rowsOf(stage);
  const rows = isWhole(exact, rowsOf(stage)) ? Math.round(exact) : exact;
  const { domain, lengthTokens, share } = part;
  return {
    name: mixPartName(part, stage.mix),
    domain,
    lengthTokens,
    share,
    rows,
    tokens: rows * stage.sequenceLengthTokens,
  };
}

/** Attention sees a document, or the whole row where documents are not masked from each other. */
function flopsOfMix(recipe: Recipe, stage: TrainingStage): TokenFlops {
  const { architecture } = recipe.base;
  const row = stage.sequenceLengthTokens;
  const packed = Math.min(recipe.cost.packedDocumentTokens, row);
  const seen = stage.mix.reduce((sum, { lengthTokens, share }) => sum + share * (lengthTokens ?? packed), 0);
  return trainingFlopsPerToken(architecture, stage.documentMasking ? seen : row);
}

function effortOf({ cost }: Recipe, flops: number, mfu: number): Effort {
  const gpuHours = flops / (cost.peakTeraflops * 1e12 * mfu) / 3600;
  return { flops, mfu, gpuHours, wallHours: gpuHours / cost.gpus, cost: gpuHours * cost.pricePerGpuHour };
}

function planCheckpoints(recipe: Recipe, stage: TrainingStage, everySteps: number): CheckpointPlan {
  const { keepLast, keepEvery } = stage.checkpoints;
  const steps = stepsOf(stage);
  const regular = Math.floor(steps / everySteps);
  const last = steps % everySteps === 0 ? 0 : 1;
  const count = regular + last;
  const newest = Math.min(keepLast, count);
  const kept = newest + keptBefore(regular - (newest - last), everySteps, keepEvery);
  const bytesEach = checkpointBytes(recipe.base.architecture);
  return {
    everySteps,
    auto: stage.checkpoints.everySteps === 'auto',
    count,
    kept,
    bytesEach,
    bytesWritten: count * bytesEach,
    bytesKept: kept * bytesEach,
  };
}

/** Of the first `count` regular checkpoints, those at multiples of `keepEvery` steps. */
function keptBefore(count: number, everySteps: number, keepEvery: number): number {
  if (keepEvery === 0) return 0;
  const common = (everySteps / greatestCommonDivisor(everySteps, keepEvery)) * keepEvery;
  return Math.floor((Math.max(0, count) * everySteps) / common);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function planEvaluation(recipe: Recipe, step: EvaluationStep): EvaluationPlan {
  const { architecture } = recipe.base;
  const readings = step.tasks.flatMap(({ settings }) => readingsOf(settings));
  const targets = step.targets.length;
  const flops = sumOf(readings, ({ lengthTokens, contexts }) => {
    const { matmul, attention } = trainingFlopsPerToken(architecture, lengthTokens);
    return contexts * lengthTokens * FORWARD_SHARE * (matmul + attention);
  });
  return {
    name: step.evaluation,
    folder: step.folder,
    targets: step.targets.map((target) => target.name),
    tasks: step.tasks.map((task) => task.name),
    samples: targets * sumOf(readings, ({ contexts, questions }) => contexts * questions),
    tokens: targets * sumOf(readings, ({ contexts, lengthTokens }) => contexts * lengthTokens),
    effort: effortOf(recipe, targets * flops, recipe.cost.mfu),
  };
}

/** What one model reads for a task. A context is read once, whatever the number of questions about it. */
function readingsOf(
  task: RecipeTask,
): readonly { lengthTokens: number; contexts: number; questions: number }[] {
  switch (task.task) {
    case 'kv-recall':
    case 'needle':
      return task.lengths.map((length) => ({ ...length, questions: task.depths.length }));
    case 'held-out-loss':
      return task.lengths.map(({ lengthTokens, rows }) => ({ lengthTokens, contexts: rows, questions: 1 }));
  }
}

function totalOf(
  recipe: Recipe,
  stages: readonly StagePlan[],
  evaluations: readonly EvaluationPlan[],
): Plan['total'] {
  const efforts = [...stages, ...evaluations].map((one) => one.effort);
  const checkpointBytesKept = sumOf(stages, (stage) => stage.checkpoints.bytesKept);
  const exported = sumOf(stages, (stage) => stage.exportBytes);
  const curated = sumOf(datasetsOf(recipe), (dataset) =>
    datasetBytes(
      dataset.rows * dataset.sequenceLengthTokens,
      dataset.purpose === 'training' && dataset.masked,
    ),
  );
  return {
    trainedTokens: sumOf(stages, (stage) => stage.tokens),
    flops: sumOf(efforts, (effort) => effort.flops),
    gpuHours: sumOf(efforts, (effort) => effort.gpuHours),
    wallHours: sumOf(efforts, (effort) => effort.wallHours),
    cost: sumOf(efforts, (effort) => effort.cost),
    checkpoints: sumOf(stages, (stage) => stage.checkpoints.count),
    checkpointBytesWritten: sumOf(stages, (stage) => stage.checkpoints.bytesWritten),
    checkpointBytesKept,
    exportBytes: exported,
    datasetBytes: curated,
    storedBytes: checkpointBytesKept + exported + curated,
  };
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
