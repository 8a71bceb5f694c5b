/** Tells an activity's workflow that what it is to run waits for a place: heartbeats, which say so too, are not seen by workflows. */
import type { Context } from '@temporalio/activity';

/** Name of the signal, as `workflows/messages.ts` defines it. */
const QUEUED_SIGNAL = 'queued';

/** What one activity tells of its wait. Each message costs the workflow a few events. */
export class QueueTeller {
  #told: Promise<void> = Promise.resolve();

  constructor(private readonly context: Context) {}

  /** Says that it waits, or waits no longer. What can't be told now is not told: it is for people to look at. */
  tell(queued: boolean): void {
    this.#told = this.#told
      .then(() => this.#send(queued))
      .catch((error: unknown) => {
        this.context.log.warn('a wait was not told', { queued, error });
      });
  }

  async #send(queued: boolean): Promise<void> {
    const execution = this.context.info.workflowExecution;
    if (execution === undefined) return;
    const handle = this.context.client.workflow.getHandle(execution.workflowId, execution.runId);
    await handle.signal(QUEUED_SIGNAL, { queued });
  }
}
