/** The learning rate as a function of tokens consumed; the trainer (longhaul_trainer/train/optim.py) computes the same. */
import { stepsOf } from '../recipe/schema.js';
import type { TrainingStage } from '../recipe/schema.js';

/** Linear warm-up from 0 to `peak`, then a cosine down to `floor` at `totalTokens`: the schedule of a job's spec. */
export interface LearningRateSchedule {
  readonly peak: number;
  readonly floor: number;
  readonly warmupTokens: number;
  readonly totalTokens: number;
  /** A step's rate is that of the tokens consumed with it, or (step-start) before it; absent: step-end. */
  readonly rateAt?: 'step-end' | 'step-start';
}

/** A stage's schedule with its warm-up in tokens, rounded to the nearest. */
export function scheduleOf({ schedule, tokens }: TrainingStage): LearningRateSchedule {
  const warmupTokens = Math.round(schedule.warmupShare * tokens);
  const { peak, floor, rateAt } = schedule;
  return {
    ...{ peak, floor, warmupTokens, totalTokens: tokens },
    ...(rateAt === undefined ? {} : { rateAt }),
  };
}

/** Learning rate when `tokens` tokens are consumed. Stays at the floor after the end. */
export function learningRate(schedule: LearningRateSchedule, tokens: number): number {
  const { peak, floor, warmupTokens, totalTokens } = schedule;
  if (tokens < warmupTokens) return (peak * tokens) / warmupTokens;
  const span = totalTokens - warmupTokens;
  const progress = span <= 0 ? 1 : Math.min(1, (tokens - warmupTokens) / span);
  return floor + (peak - floor) * 0.5 * (1 + Math.cos(Math.PI * progress));
}

/** A point of a schedule that a plan prints. */
export interface SchedulePoint {
  readonly step: number;
  readonly tokens: number;
  readonly learningRate: number;
}

/** First step, end of warm-up, half of the cosine, last step; fewer where they coincide. */
export function schedulePoints(stage: TrainingStage): SchedulePoint[] {
  const schedule = scheduleOf(stage);
  const steps = stepsOf(stage);
  const warm = Math.max(1, Math.ceil(schedule.warmupTokens / stage.globalBatchTokens));
  const middle = Math.round((warm + steps) / 2);
  return [...new Set([1, Math.min(warm, steps), Math.min(middle, steps), steps])].map((step) => {
    const tokens = step * stage.globalBatchTokens;
    const counted = schedule.rateAt === 'step-start' ? tokens - stage.globalBatchTokens : tokens;
    return { step, tokens, learningRate: learningRate(schedule, counted) };
  });
}
