/**
 * The step-progress watchdog: alive is not progress. It is fed with a job's events as the observer comes to see them, and
 * with ticks of the observer's own monotonic clock; it says when the job has brought nothing new for too long.
 *
 * - **Progress** is a step, or an evaluation sample, beyond all before. Phases, logs, heartbeats and repeated steps are none.
 * - Between two points of progress every phase has its own clock, which runs on when the phase is entered again: a job that
 *   swings between saving and training without a step is caught.
 * - **Limits** are `factor` × the slowest recent measurement of the phase (of a step, also of a save, which may have to be waited
 *   for), and never below the phase's floor. Measurements are the job's own (its clock against itself), so no two machines'
 *   clocks are ever compared.
 * - Time in which the observer could not read the store doesn't count, and neither does time in which it did not look.
 */
import { z } from 'zod';
import { JOB_PHASES } from './phase.js';
import type { JobPhase } from './phase.js';

/** Most of the time between two ticks that counts, seconds: an observer that was stopped itself has not watched. */
export const LONGEST_TICK_SECONDS = 15;

/** How many of the newest measurements count, per phase. */
const RECENT: Readonly<Record<JobPhase, number>> = {
  import: 3,
  load: 3,
  'first-step': 3,
  step: 20,
  save: 5,
  evaluate: 20,
  export: 3,
};

/** When a job counts as hung: part of the recipe (`execution.watchdog`). */
export interface WatchdogSettings {
  /** A phase may take so many times the slowest of what was measured recently. */
  readonly factor: number;
  /** The limit of a phase is never below this, and is this until something was measured; seconds. */
  readonly floorSeconds: Readonly<Record<JobPhase, number>>;
}

/** Newest measurements per phase, seconds, oldest first; plain JSON, handed from one attempt of a stage to the next. */
export const watchdogLearnedSchema = z.partialRecord(z.enum(JOB_PHASES), z.array(z.number().nonnegative()));
export type WatchdogLearned = z.infer<typeof watchdogLearnedSchema>;

/** What the watchdog reads of a job's events: a subset of the job events contract. */
export type WatchedEvent =
  | { readonly type: 'phase'; readonly at: string; readonly phase: JobPhase }
  | { readonly type: 'step'; readonly step: number; readonly seconds: number }
  | { readonly type: 'commit'; readonly commit: string; readonly seconds: number }
  | { readonly type: 'sample'; readonly at: string; readonly done: number }
  | { readonly type: 'log' };

/** A look of the observer. */
export interface WatchdogTick {
  /** The observer's own monotonic clock, seconds (`performance.now() / 1000`). */
  readonly monotonicSeconds: number;
  /** Whether every read of the store since the last tick was answered ("not there" is an answer). */
  readonly storeReadable: boolean;
}

/** What the watchdog thinks of the job. */
export interface WatchdogVerdict {
  readonly hung: boolean;
  /** Phase the job is in, as far as it has said. */
  readonly phase: JobPhase;
  /** Counted seconds in this phase since the last progress. */
  readonly secondsWithoutProgress: number;
  /** Seconds at which the job counts as hung. */
  readonly limitSeconds: number;
  /** The slowest recent measurement, seconds, where it decides the limit; null: the floor does. */
  readonly slowestSeconds: number | null;
}

/** Watches one attempt. Take the events that are there, then tick; start ticking once the job is known to run. */
export class StepWatchdog {
  readonly #recent: Map<JobPhase, readonly number[]>;
  readonly #elapsed = new Map<JobPhase, number>();
  #phase: JobPhase = 'import';
  /** Where a save came between, and what goes on after it. */
  #beforeSave: JobPhase = 'step';
  /** When the phase began, by the job's clock; null: it has not said. */
  #phaseAt: number | null = null;
  #lastTick: number | null = null;
  #stepped = false;
  #step = 0;
  #samples = 0;
  #sampleAt: number | null = null;

  /** `learned`: what earlier attempts of the stage have measured. */
  constructor(
    private readonly settings: WatchdogSettings,
    learned: WatchdogLearned = {},
  ) {
    this.#recent = new Map(JOB_PHASES.map((phase) => [phase, learned[phase] ?? []]));
  }

  /** Measurements so far, those of earlier attempts included: what the next attempt starts with. */
  get learned(): WatchdogLearned {
    return Object.fromEntries([...this.#recent].filter(([, seconds]) => seconds.length > 0));
  }

  /** Takes the next event of the job, in the job's order. */
  add(event: WatchedEvent): void {
    switch (event.type) {
      case 'phase':
        this.#enter(event.phase, Date.parse(event.at) / 1000);
        return;
      case 'step':
        this.#addStep(event.step, event.seconds);
        return;
      case 'commit':
        this.#measure('save', event.seconds);
        this.#elapsed.delete('save');
        if (this.#phase === 'save') this.#goOn(this.#beforeSave);
        return;
      case 'sample':
        this.#addSample(event.done, Date.parse(event.at) / 1000);
        return;
      case 'log':
        return;
    }
  }

  /** Counts the time since the last tick and judges. The first tick only starts the clock. */
  tick({ monotonicSeconds, storeReadable }: WatchdogTick): WatchdogVerdict {
    const passed = monotonicSeconds - (this.#lastTick ?? monotonicSeconds);
    this.#lastTick = monotonicSeconds;
    if (storeReadable) {
      const counted = Math.min(LONGEST_TICK_SECONDS, Math.max(0, passed));
      this.#elapsed.set(this.#phase, this.#elapsedIn(this.#phase) + counted);
    }
    return this.verdict;
  }

  /** What the watchdog thinks as of the last tick. */
  get verdict(): WatchdogVerdict {
    const floor = this.settings.floorSeconds[this.#phase];
    const slowest = this.#slowestIn(this.#phase);
    const adapted = this.settings.factor * slowest;
    const secondsWithoutProgress = this.#elapsedIn(this.#phase);
    const limitSeconds = Math.max(floor, adapted);
    return {
      hung: secondsWithoutProgress > limitSeconds,
      phase: this.#phase,
      secondsWithoutProgress,
      limitSeconds,
      slowestSeconds: adapted > floor ? slowest : null,
    };
  }

  /** Between two steps a save may have to be waited for, as one is in flight at a time; not every job announces it. */
  #slowestIn(phase: JobPhase): number {
    const phases: readonly JobPhase[] = phase === 'step' ? ['step', 'save'] : [phase];
    return Math.max(0, ...phases.flatMap((one) => this.#recent.get(one) ?? []));
  }

  /** A phase begins, at a time of the job's clock. What it leaves was measured, if it began with an event too. */
  #enter(phase: JobPhase, at: number): void {
    const left = this.#phase;
    if (this.#phaseAt !== null && isTimedByPhase(left) && phase !== left) {
      this.#measure(left, at - this.#phaseAt);
    }
    if (phase === 'save' && left !== 'save') this.#beforeSave = left;
    this.#phase = phase;
    this.#phaseAt = at;
    if (phase === 'evaluate') this.#sampleAt ??= at;
  }

  /** The job is in a phase again without having said so. */
  #goOn(phase: JobPhase): void {
    this.#phase = phase;
    this.#phaseAt = null;
  }

  #addStep(step: number, seconds: number): void {
    if (!this.#stepped) this.#measure('first-step', seconds);
    this.#stepped = true;
    this.#measure('step', seconds);
    this.#goOn('step');
    if (step <= this.#step) return;
    this.#step = step;
    this.#elapsed.clear();
  }

  #addSample(done: number, at: number): void {
    if (done <= this.#samples) return;
    if (this.#sampleAt !== null) this.#measure('evaluate', at - this.#sampleAt);
    this.#sampleAt = at;
    this.#samples = done;
    this.#goOn('evaluate');
    this.#elapsed.clear();
  }

  /** A clock that was set back measures nothing. */
  #measure(phase: JobPhase, seconds: number): void {
    if (!(seconds >= 0)) return;
    const rounded = Math.round(seconds * 1000) / 1000;
    this.#recent.set(phase, [...(this.#recent.get(phase) ?? []), rounded].slice(-RECENT[phase]));
  }

  #elapsedIn(phase: JobPhase): number {
    return this.#elapsed.get(phase) ?? 0;
  }
}

/** Whether a phase's length is measured from its beginning to the next phase; the others say their own. */
function isTimedByPhase(phase: JobPhase): boolean {
  switch (phase) {
    case 'import':
    case 'load':
    case 'export':
    case 'save':
      return true;
    case 'first-step':
    case 'step':
    case 'evaluate':
      return false;
  }
}

/** Why a job counts as hung, in one sentence without a full stop. */
export function hangText(verdict: WatchdogVerdict): string {
  const { phase, secondsWithoutProgress, limitSeconds, slowestSeconds } = verdict;
  const basis =
    slowestSeconds === null ? 'the recipe’s floor' : `the slowest of late took ${rounded(slowestSeconds)} s`;
  return `no progress for ${rounded(secondsWithoutProgress)} s in phase "${phase}", where ${rounded(limitSeconds)} s are allowed (${basis})`;
}

function rounded(seconds: number): string {
  return seconds < 10 ? String(Number(seconds.toFixed(1))) : String(Math.round(seconds));
}
