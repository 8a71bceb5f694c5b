/** What interruptions cost a stage, as far as it can be reckoned before anything is measured. */
import { bestIntervalSteps, goodput, goodputWithGrace } from './interval.js';
import type { CheckpointCosts, InterruptionCosts } from './interval.js';
import { checkpointBytes } from './cost.js';
import type { PreemptionPlan, StagePlan } from './types.js';
import type { Problem } from '../recipe/problem.js';
import type { Recipe, TrainingStage } from '../recipe/schema.js';

/** What saving costs a stage whose steps take `stepSeconds`, by the recipe's assumptions. */
export function checkpointCosts({ base, cost }: Recipe, stepSeconds: number): CheckpointCosts {
  const { saveBytesPerSecond, stallSeconds } = cost.interruptions;
  return { stepSeconds, stallSeconds, saveSeconds: checkpointBytes(base.architecture) / saveBytesPerSecond };
}

/** Steps between checkpoints to plan with: the recipe's, or for "auto" what its assumptions come to. */
export function plannedInterval(recipe: Recipe, stage: TrainingStage, stepSeconds: number): number {
  const { everySteps } = stage.checkpoints;
  if (everySteps !== 'auto') return everySteps;
  return bestIntervalSteps(checkpointCosts(recipe, stepSeconds), assumed(recipe));
}

/** What a preemption costs a stage of `steps` steps, and what remains of the time. */
export function planPreemption(
  recipe: Recipe,
  stage: TrainingStage,
  stepSeconds: number,
  steps: number,
): PreemptionPlan {
  const costs = checkpointCosts(recipe, stepSeconds);
  const interruptions = assumed(recipe);
  const everySteps = plannedInterval(recipe, stage, stepSeconds);
  const best = bestIntervalSteps(costs, interruptions);
  const interval = Math.min(everySteps, steps) * stepSeconds;
  return {
    stepSeconds,
    saveSeconds: costs.saveSeconds,
    graceFits: recipe.execution.graceSeconds >= costs.saveSeconds,
    mostLostWithGraceSeconds: stepSeconds,
    mostLostWithoutGraceSeconds: interval + costs.saveSeconds,
    goodputWithGrace: goodputWithGrace(everySteps, costs, interruptions),
    goodputWithoutGrace: goodput(everySteps, costs, interruptions),
    bestEverySteps: best,
    bestGoodputWithoutGrace: goodput(best, costs, interruptions),
  };
}

/** How much of the goodput an interval may cost before the plan points at it. */
const NOTICED_LOSS = 0.05;

/** Intervals that waste the fleet where preemptions leave no grace. */
export function intervalNotices(stages: readonly StagePlan[]): Problem[] {
  return stages.flatMap(({ name, checkpoints, preemption }) => {
    const { goodputWithoutGrace: is, bestGoodputWithoutGrace: could, bestEverySteps } = preemption;
    if (could - is < NOTICED_LOSS) return [];
    const best = bestEverySteps === 1 ? 'every step' : `every ${bestEverySteps} steps`;
    const message =
      `if preemptions leave no grace, checkpoints every ${checkpoints.everySteps} steps leave ${percent(is)} of the time ` +
      `to work that lasts; "auto", about ${best}, would leave ${percent(could)}`;
    return [{ path: `stages.${name}.checkpoints.everySteps`, message }];
  });
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function assumed({ cost }: Recipe): InterruptionCosts {
  const { meanHoursBetween, relaunchSeconds } = cost.interruptions;
  return { meanSeconds: meanHoursBetween * 3600, relaunchSeconds };
}
