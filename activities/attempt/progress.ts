/** Where a job's progress goes: into heartbeat details all along, and at commits and warnings, now and then, to the stage's workflow. */
import type { Context } from '@temporalio/activity';
import type { AttemptEvent } from '../../src/domain/attempt/facts.js';
import { SIGNALS } from '../../src/domain/run/messages.js';
import type { AttemptProgress, ProgressTracker } from '../../src/domain/run/progress.js';
import { LostTries } from '../lib/lost-tries.js';
import { signalWorkflow } from '../lib/signal.js';

/** Shortest time between two signals of one attempt. Each costs the workflow four events. */
const SIGNAL_MS = 60_000;
/** The first signals come sooner: a run of minutes shows something too, and the growth of the history stays bounded. */
const FIRST_SIGNALS_MS = 10_000;
const FIRST_SIGNALS = 12;

/** Publishes the progress of one attempt. */
export class ProgressReporter {
  #beat: NodeJS.Timeout | undefined;
  #signals = 0;
  #lastSignal = -Infinity;
  /** Whether there is a commit that the workflow has not been told of. */
  #isNews = false;
  /** The warning that the workflow knows; undefined: none. */
  #told: string | undefined;
  readonly #lost: LostTries;

  /** `signal`: tells the stage's workflow. */
  constructor(
    private readonly context: Context,
    public tracker: ProgressTracker,
    private readonly signal: (progress: AttemptProgress) => Promise<void> = (progress) =>
      signalWorkflow(context, SIGNALS.progress, progress),
  ) {
    this.#lost = new LostTries(context);
  }

  /** As `LostTries.look`: tries that ended without a word before their job ran. */
  look(): Promise<void> {
    return this.#lost.look();
  }

  /** The job runs, or waits for a place: from now on any number of workers may watch it, one after the other. */
  goesOn(): void {
    this.#lost.survived(this.tracker.progress);
  }

  /**
   * Heartbeats at a third of the timeout, on a timer: a job that is busy saving says nothing for a while. What could not be signalled
   * before is signalled then. Warnings are only then: one that is over at once, as of events that came late, is none.
   */
  startHeartbeat(): void {
    const timeoutMs = this.context.info.heartbeatTimeoutMs ?? 30_000;
    this.#beat = setInterval(() => {
      this.#heartbeat();
      if (this.#isNews || this.tracker.progress.warning?.text !== this.#told) this.#signal();
    }, timeoutMs / 3);
  }

  stopHeartbeat(): void {
    clearInterval(this.#beat);
  }

  /** Takes an event of the job; commits are passed on to the workflow, at most once in a while. */
  take(event: AttemptEvent): void {
    this.tracker.add(event);
    this.#heartbeat();
    if (event.type !== 'commit') return;
    this.#isNews = true;
    this.#signal();
  }

  /** What keeps the watcher of the job waiting; null: nothing does. */
  warn(text: string | null): void {
    this.tracker.warn(text, new Date().toISOString());
  }

  /** The attempt has ended: its warning, if the workflow knows one, no longer stands. */
  async end(): Promise<void> {
    if (this.#told === undefined) return;
    this.tracker.endWarnings();
    await this.#send();
  }

  #heartbeat(): void {
    this.context.heartbeat(this.#lost.in(this.tracker.progress));
  }

  #signal(): void {
    const wait = this.#signals < FIRST_SIGNALS ? FIRST_SIGNALS_MS : SIGNAL_MS;
    if (performance.now() - this.#lastSignal < wait) return;
    this.#lastSignal = performance.now();
    this.#signals += 1;
    void this.#send();
  }

  async #send(): Promise<void> {
    const { progress } = this.tracker;
    this.#isNews = false;
    this.#told = progress.warning?.text;
    try {
      await this.signal(progress);
    } catch (error) {
      this.#isNews = true;
      this.context.log.warn('progress was not taken', { error });
    }
  }
}
