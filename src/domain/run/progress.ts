/**
 * Live progress of a job, as it rides in the heartbeat details of `runAttempt` (read by the command line and the Temporal UI's
 * pending-activity view) and, at commits, in the `progress` signal to the stage's workflow.
 */
import { z } from 'zod';
import { NO_FACTS, factsWith, stepReached } from '../attempt/facts.js';
import type { AttemptEvent, AttemptFacts } from '../attempt/facts.js';

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

/** Folds a job's events into its facts, and into the progress that people see. */
export class ProgressTracker {
  #facts = NO_FACTS;
  #secondsLeft: number | null = null;
  #recent: { readonly tokens: number; readonly seconds: number }[] = [];
  #firstSample: { readonly at: number; readonly done: number } | null = null;

  /** `steps`: optimizer steps of the job; null for an evaluation, whose events say how many samples there are. */
  constructor(
    private readonly epoch: number,
    private readonly steps: number | null,
  ) {}

  /** What the events have told so far. */
  get facts(): AttemptFacts {
    return this.#facts;
  }

  /** Progress so far. */
  get progress(): AttemptProgress {
    const { phase, totalSamples, tokens, loss, learningRate, commits } = this.#facts;
    const recentSeconds = this.#recentSeconds();
    return {
      epoch: this.epoch,
      phase: phase ?? 'queued',
      step: stepReached(this.#facts),
      steps: totalSamples ?? this.steps,
      tokens,
      loss,
      learningRate,
      tokensPerSecond: recentSeconds > 0 ? sum(this.#recent.map((one) => one.tokens)) / recentSeconds : null,
      secondsLeft: this.#secondsLeft,
      commit: commits.at(-1)?.id ?? null,
    };
  }

  /** Takes the next event. */
  add(event: AttemptEvent): void {
    this.#facts = factsWith(this.#facts, event);
    if (event.type === 'step') this.#addStep(event);
    if (event.type === 'sample') this.#addSample(event);
  }

  #addStep({ step, tokens, seconds }: Extract<AttemptEvent, { type: 'step' }>): void {
    this.#recent = [...this.#recent, { tokens: tokens / step, seconds }].slice(-SPEED_WINDOW);
    this.#secondsLeft =
      this.steps === null
        ? null
        : (Math.max(0, this.steps - step) * this.#recentSeconds()) / this.#recent.length;
  }

  #addSample({ at, done, total }: Extract<AttemptEvent, { type: 'sample' }>): void {
    const now = Date.parse(at);
    this.#firstSample ??= { at: now, done };
    const finished = done - this.#firstSample.done;
    const seconds = (now - this.#firstSample.at) / 1000;
    this.#secondsLeft = finished > 0 ? (seconds / finished) * (total - done) : null;
  }

  #recentSeconds(): number {
    return sum(this.#recent.map((one) => one.seconds));
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
