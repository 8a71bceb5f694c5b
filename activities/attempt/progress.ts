/** Where a job's progress goes: into heartbeat details all along, and at commits and warnings, now and then, to the stage's workflow. */
import type { Context } from '@temporalio/activity';
import type { AttemptEvent } from '../../src/domain/attempt/facts.js';
import type { AttemptProgress, ProgressTracker } from '../../src/domain/run/progress.js';

/** Shortest time between two signals of one attempt. Each costs the workflow four events. */
const SIGNAL_MS = 60_000;
/** The first signals come sooner: a run of minutes shows something too, and the growth of the history stays bounded. */
const FIRST_SIGNALS_MS = 10_000;
const FIRST_SIGNALS = 12;

/** Name of the signal, as `workflows/messages.ts` defines it. */
const PROGRESS_SIGNAL = 'progress';

/** Publishes the progress of one attempt. */
export class ProgressReporter {
  #beat: NodeJS.Timeout | undefined;
  #signals = 0;
  #lastSignal = -Infinity;
  /** Whether there is a commit that the workflow has not been told of. */
  #isNews = false;
  /** The warning that the workflow knows; undefined: none. */
  #told: string | undefined;

  /** `signal`: tells the stage's workflow. */
  constructor(
    private readonly context: Context,
    public tracker: ProgressTracker,
    private readonly signal: (progress: AttemptProgress) => Promise<void> = (progress) =>
      signalWorkflow(context, progress),
  ) {}

  /**
   * Heartbeats at a third of the timeout, on a timer: a job that is busy saving says nothing for a while. What could not be signalled
   * before is signalled then. Warnings are only then: one that is over at once, as of events that came late, is none.
   */
  startHeartbeat(): void {
    const timeoutMs = this.context.info.heartbeatTimeoutMs ?? 30_000;
    this.#beat = setInterval(() => {
      this.context.heartbeat(this.tracker.progress);
      if (this.#isNews || this.tracker.progress.warning?.text !== this.#told) this.#signal();
    }, timeoutMs / 3);
  }

  stopHeartbeat(): void {
    clearInterval(this.#beat);
  }

  /** Takes an event of the job; commits are passed on to the workflow, at most once in a while. */
  take(event: AttemptEvent): void {
    this.tracker.add(event);
    this.context.heartbeat(this.tracker.progress);
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

async function signalWorkflow(context: Context, progress: AttemptProgress): Promise<void> {
  const { workflowExecution: execution } = context.info;
  if (execution === undefined) return;
  const handle = context.client.workflow.getHandle(execution.workflowId, execution.runId);
  await handle.signal<[AttemptProgress]>(PROGRESS_SIGNAL, progress);
}
