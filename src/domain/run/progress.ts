/**
 * Live progress of a job, as it rides in the heartbeat details of `runAttempt` (read by the command line and the Temporal UI's
 * pending-activity view) and, at commits, in the `progress` signal to the stage's workflow.
 */
import { z } from 'zod';

/** Where a running attempt is. Numbers not known yet are null. */
export const attemptProgressSchema = z.strictObject({
  epoch: z.int().positive().describe('Attempt of the stage'),
  phase: z.string().max(100).describe('Phase the job last reported, "queued" before the first'),
  step: z.int().nonnegative().describe('Optimizer steps done; of an evaluation, samples done'),
  steps: z.int().positive().nullable().describe('Optimizer steps in all; of an evaluation, samples in all'),
  tokens: z.int().nonnegative().describe('Tokens consumed by the stage'),
  loss: z.number().nullable().describe('Loss of the newest step, nats per token'),
  learningRate: z.number().nullable(),
  tokensPerSecond: z.number().nonnegative().nullable().describe('Over the newest steps'),
  secondsLeft: z.number().nonnegative().nullable().describe('Estimate for the steps or samples that remain'),
  commit: z.string().max(100).nullable().describe('Newest checkpoint committed'),
});
export type AttemptProgress = z.infer<typeof attemptProgressSchema>;

/** Newest steps over which speed is averaged. */
const SPEED_WINDOW = 5;

/** What happened in a job, as far as progress is concerned: a subset of the job events contract. */
export type ProgressEvent =
  | { readonly type: 'phase'; readonly phase: string }
  | {
      readonly type: 'step';
      readonly step: number;
      readonly tokens: number;
      readonly loss: number;
      readonly learningRate: number;
      readonly seconds: number;
    }
  | { readonly type: 'commit'; readonly commit: string }
  | { readonly type: 'sample'; readonly at: string; readonly done: number; readonly total: number }
  | { readonly type: 'log' };

/** Folds a job's events into its progress. */
export class ProgressTracker {
  #progress: AttemptProgress;
  #recent: { readonly tokens: number; readonly seconds: number }[] = [];
  #firstSample: { readonly at: number; readonly done: number } | null = null;

  /** `steps`: optimizer steps of the job; null for an evaluation, whose events say how many samples there are. */
  constructor(epoch: number, steps: number | null) {
    this.#progress = {
      epoch,
      phase: 'queued',
      step: 0,
      steps,
      tokens: 0,
      loss: null,
      learningRate: null,
      tokensPerSecond: null,
      secondsLeft: null,
      commit: null,
    };
  }

  /** Progress so far. */
  get progress(): AttemptProgress {
    return this.#progress;
  }

  /** Takes the next event. */
  add(event: ProgressEvent): void {
    switch (event.type) {
      case 'phase':
        this.#progress = { ...this.#progress, phase: event.phase };
        return;
      case 'step':
        this.#addStep(event);
        return;
      case 'commit':
        this.#progress = { ...this.#progress, commit: event.commit };
        return;
      case 'sample':
        this.#addSample(event);
        return;
      case 'log':
        return;
    }
  }

  #addStep(event: Extract<ProgressEvent, { type: 'step' }>): void {
    const { step, tokens, loss, learningRate, seconds } = event;
    const stepTokens = tokens / step;
    this.#recent = [...this.#recent, { tokens: stepTokens, seconds }].slice(-SPEED_WINDOW);
    const recentSeconds = sum(this.#recent.map((one) => one.seconds));
    const { steps } = this.#progress;
    this.#progress = {
      ...this.#progress,
      step,
      tokens,
      loss,
      learningRate,
      tokensPerSecond: recentSeconds > 0 ? sum(this.#recent.map((one) => one.tokens)) / recentSeconds : null,
      secondsLeft: steps === null ? null : (Math.max(0, steps - step) * recentSeconds) / this.#recent.length,
    };
  }

  #addSample({ at, done, total }: Extract<ProgressEvent, { type: 'sample' }>): void {
    const now = Date.parse(at);
    this.#firstSample ??= { at: now, done };
    const finished = done - this.#firstSample.done;
    const seconds = (now - this.#firstSample.at) / 1000;
    this.#progress = {
      ...this.#progress,
      step: done,
      steps: total,
      secondsLeft: finished > 0 ? (seconds / finished) * (total - done) : null,
    };
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
