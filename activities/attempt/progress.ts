/** Where a job's progress goes: into heartbeat details all along, and at commits, now and then, to the stage's workflow. */
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

  constructor(
    private readonly context: Context,
    public tracker: ProgressTracker,
  ) {}

  /** Heartbeats at a third of the timeout, on a timer: a job that is busy saving says nothing for a while. */
  startHeartbeat(): void {
    const timeoutMs = this.context.info.heartbeatTimeoutMs ?? 30_000;
    this.#beat = setInterval(() => this.context.heartbeat(this.tracker.progress), timeoutMs / 3);
  }

  stopHeartbeat(): void {
    clearInterval(this.#beat);
  }

  /** Takes an event of the job; commits are passed on to the workflow, at most once in a while. */
  take(event: AttemptEvent): void {
    this.tracker.add(event);
    this.context.heartbeat(this.tracker.progress);
    if (event.type === 'commit') this.#signal();
  }

  #signal(): void {
    const wait = this.#signals < FIRST_SIGNALS ? FIRST_SIGNALS_MS : SIGNAL_MS;
    const execution = this.context.info.workflowExecution;
    if (execution === undefined || performance.now() - this.#lastSignal < wait) return;
    this.#lastSignal = performance.now();
    this.#signals += 1;
    this.#send(execution.workflowId, execution.runId).catch((error: unknown) => {
      this.context.log.warn('progress was not taken', { error });
    });
  }

  async #send(workflowId: string, runId: string): Promise<void> {
    const handle = this.context.client.workflow.getHandle(workflowId, runId);
    await handle.signal<[AttemptProgress]>(PROGRESS_SIGNAL, this.tracker.progress);
  }
}
