/**
 * Live progress of a job, as it rides in the heartbeat details of `runAttempt` (read by the command line and the Temporal UI's
 * pending-activity view) and, at commits, in the `progress` signal to the stage's workflow.
 */
import { z } from 'zod';
import { NO_FACTS, factsWith, stepReached } from '../attempt/facts.js';
import type { AttemptEvent, AttemptFacts } from '../attempt/facts.js';
import { isOneLine, printable, withinLimit } from '../lib/text.js';
import { instantSchema } from '../lib/time.js';

/** Most characters of a warning: it is one line, and rides in every heartbeat and signal. */
export const WARNING_CHARACTERS = 500;

/** What an operator should know of a job that goes on. */
export const warningSchema = z.strictObject({
  text: z.string().max(WARNING_CHARACTERS).refine(isOneLine, 'one line').describe('One line for people'),
  at: instantSchema.describe('When it was said, by the clock of the machine that said it'),
});
export type Warning = z.infer<typeof warningSchema>;

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
  commit: z.string().max(100).nullable().describe('Newest checkpoint committed, null before the first'),
  commitStep: z
    .int()
    .nonnegative()
    .optional()
    .describe('Optimizer steps in the newest checkpoint; older workers do not tell it'),
  commitAt: instantSchema
    .optional()
    .describe('When that was committed, by the clock of the job; absent: not known'),
  warning: warningSchema.optional().describe('Newest warning that still stands; absent: there is none'),
});
export type AttemptProgress = z.infer<typeof attemptProgressSchema>;

/** Newest steps over which speed is averaged. */
const SPEED_WINDOW = 5;

/** The checkpoint that an attempt begins at, or has made. */
export interface TrackedCommit {
  readonly id: string;
  /** Optimizer steps in it. */
  readonly step: number;
  /** When it was committed; undefined: not known. */
  readonly at?: string | undefined;
}

/** Folds a job's events into its facts, and into the progress that people see. */
export class ProgressTracker {
  #facts = NO_FACTS;
  #commit: TrackedCommit | null;
  #jobWarning: Warning | null = null;
  #ownWarning: Warning | null = null;
  #secondsLeft: number | null = null;
  #recent: { readonly tokens: number; readonly seconds: number }[] = [];
  #firstSample: { readonly at: number; readonly done: number } | null = null;

  /**
   * `steps`: optimizer steps of the job; null for an evaluation, whose events say how many samples there are. `from`: the checkpoint it
   * begins at.
   */
  constructor(
    private readonly epoch: number,
    private readonly steps: number | null,
    from: TrackedCommit | null = null,
  ) {
    this.#commit = from === null ? null : { id: from.id, step: from.step };
  }

  /** What the events have told so far. */
  get facts(): AttemptFacts {
    return this.#facts;
  }

  /** Progress so far. What the watcher itself has to say comes before what the job said: the job may not get through. */
  get progress(): AttemptProgress {
    const { phase, totalSamples, tokens, loss, learningRate } = this.#facts;
    const recentSeconds = this.#recentSeconds();
    const warning = this.#ownWarning ?? this.#jobWarning;
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
      commit: this.#commit?.id ?? null,
      ...(this.#commit === null ? {} : { commitStep: this.#commit.step }),
      ...(this.#commit?.at === undefined ? {} : { commitAt: this.#commit.at }),
      ...(warning === null ? {} : { warning }),
    };
  }

  /** When a checkpoint was committed, learnt from elsewhere than the job's events; of another than the newest it says nothing. */
  dateCommit(id: string, at: string): void {
    if (this.#commit?.id === id) this.#commit = { ...this.#commit, at: this.#commit.at ?? at };
  }

  /** What the watcher of the job has to say itself; null: nothing any more. */
  warn(text: string | null, at: string): void {
    if (text === null) this.#ownWarning = null;
    else if (this.#ownWarning?.text !== text) this.#ownWarning = warningOf(text, at);
  }

  /** No warning stands any more: the attempt has ended. */
  endWarnings(): void {
    this.#jobWarning = null;
    this.#ownWarning = null;
  }

  /** Takes the next event. */
  add(event: AttemptEvent): void {
    const { samples } = this.#facts;
    this.#facts = factsWith(this.#facts, event);
    if (event.type === 'step') this.#addStep(event);
    if (event.type === 'sample') this.#addSample(event);
    if (event.type === 'commit') this.#commit = { id: event.commit, step: event.step, at: event.at };
    // A sample that is told of again, because records of it wait for the store, is no news.
    if (event.type === 'commit' || this.#facts.samples > samples) this.#jobWarning = null;
    if (event.type === 'log' && event.level === 'warning')
      this.#jobWarning = warningOf(event.message, event.at);
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

/** A warning in one line that is not too long, whatever was said. */
export function warningOf(text: string, at: string): Warning {
  return { text: withinLimit(printable(text.replace(/\s+/g, ' ').trim()), WARNING_CHARACTERS), at };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
