/**
 * How often to save, and what interruptions cost. Young's and Daly's balance: a checkpoint costs what training loses by it, an
 * interruption costs the steps since the newest commit. The trainer (checkpoint/interval.py) decides by the same formula from what it
 * measures; here it serves plans, and tests simulate it.
 *
 * Seconds throughout. Saves overlap training: one costs its stall, and is committed `saveSeconds` after it began.
 */

/**
 * Seconds of training between checkpoints that waste the least (Daly 2006, higher order).
 * `cost`: what training loses per checkpoint; `mean`: mean time between interruptions.
 */
export function bestIntervalSeconds(cost: number, mean: number): number {
  if (cost >= 2 * mean) return mean;
  const ratio = cost / (2 * mean);
  return Math.sqrt(2 * cost * mean) * (1 + Math.sqrt(ratio) / 3 + ratio / 9) - cost;
}

/** How many interruptions the assumption counts for: once a few were seen, hardly anything, however wrong it was. */
const ASSUMPTION_WEIGHT = 0.1;

/**
 * Mean seconds between interruptions, from what was assumed and what was seen. `watchedSeconds`: how long the job has run so far,
 * in all its attempts. While nothing has interrupted it, at least that long.
 */
export function meanBetweenInterruptions(
  assumedSeconds: number,
  watchedSeconds: number,
  interruptions: number,
): number {
  if (interruptions === 0) return Math.max(assumedSeconds, watchedSeconds);
  return (ASSUMPTION_WEIGHT * assumedSeconds + watchedSeconds) / (ASSUMPTION_WEIGHT + interruptions);
}

/** What saving and stepping take. */
export interface CheckpointCosts {
  readonly stepSeconds: number;
  /** Training lost per checkpoint: standing still for the copy, slower steps beside the upload. */
  readonly stallSeconds: number;
  /** From the copy to the commit. */
  readonly saveSeconds: number;
}

/** What interruptions take. */
export interface InterruptionCosts {
  /** Mean time between two interruptions of the job. */
  readonly meanSeconds: number;
  /** From an interruption until the job steps again. */
  readonly relaunchSeconds: number;
}

/** Whole steps between checkpoints that waste the least; never so few that a save would begin before the one before is done. */
export function bestIntervalSteps(costs: CheckpointCosts, { meanSeconds }: InterruptionCosts): number {
  const seconds = Math.max(bestIntervalSeconds(costs.stallSeconds, meanSeconds), costs.saveSeconds);
  return Math.max(1, Math.round(seconds / Math.max(costs.stepSeconds, 1e-9)));
}

/**
 * Share of the time that goes into steps that last, when an interruption comes without a warning that a save would fit in:
 * the steps since the newest commit are done again. Interruptions come at random (exponential), in restarts as well.
 */
export function goodput(
  everySteps: number,
  costs: CheckpointCosts,
  interruptions: InterruptionCosts,
): number {
  const { meanSeconds, relaunchSeconds } = interruptions;
  const useful = everySteps * costs.stepSeconds;
  const period = useful + costs.stallSeconds;
  // A life of the job brings a checkpoint per period that it survives, and each is committed only a save later.
  const commits = Math.exp(-costs.saveSeconds / meanSeconds) / Math.expm1(period / meanSeconds);
  return (useful * commits) / lifeSeconds(meanSeconds, relaunchSeconds);
}

/** The same, when every interruption leaves enough grace for a save: only the step that was under way is done again. */
export function goodputWithGrace(
  everySteps: number,
  costs: CheckpointCosts,
  interruptions: InterruptionCosts,
): number {
  const { meanSeconds, relaunchSeconds } = interruptions;
  const step = costs.stepSeconds + costs.stallSeconds / everySteps;
  const steps = 1 / Math.expm1(step / meanSeconds);
  return (costs.stepSeconds * steps) / (lifeSeconds(meanSeconds, relaunchSeconds) + costs.saveSeconds);
}

/** Mean time from one return to work to the next, restarts that are interrupted themselves included. */
function lifeSeconds(meanSeconds: number, relaunchSeconds: number): number {
  return meanSeconds * Math.exp(relaunchSeconds / meanSeconds);
}
