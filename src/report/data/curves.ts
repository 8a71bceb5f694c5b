/** Training curves from the events of all attempts of a stage. */
import type { JobEvent } from '../../contracts/index.js';
import type { GatheredAttempt } from './gathered.js';
import type { TrainingCurve, TrainingPoint } from './report-data.js';

type StepEvent = Extract<JobEvent, { type: 'step' }>;

function stepsOf({ events }: GatheredAttempt): StepEvent[] {
  return events.filter((event) => event.type === 'step');
}

function pointOf({ step, tokens, loss, learningRate, gradientNorm, seconds }: StepEvent): TrainingPoint {
  return { step, tokens, loss, learningRate, gradientNorm, seconds };
}

/** The curve: of a step that was replayed, the last report counts. */
export function curveOf(stage: string, label: string, attempts: readonly GatheredAttempt[]): TrainingCurve {
  const steps = attempts.flatMap(stepsOf).map(pointOf);
  const last = new Map(steps.map((point) => [point.step, point]));
  const resumes = attempts.slice(1).flatMap((attempt) => {
    const [first] = stepsOf(attempt);
    return first === undefined ? [] : [{ epoch: attempt.epoch, fromStep: first.step - 1 }];
  });
  return { stage, label, points: [...last.values()].sort((a, b) => a.step - b.step), resumes };
}
