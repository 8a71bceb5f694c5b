/** Tells an activity's workflow that what it is to run waits for a place: heartbeats, which say so too, are not seen by workflows. */
import type { Context } from '@temporalio/activity';
import { signalWorkflow } from './signal.js';

/** Name of the signal, as `workflows/messages.ts` defines it. */
const QUEUED_SIGNAL = 'queued';

/** What one activity tells of its wait. Each message costs the workflow a few events. */
export class QueueTeller {
  #told: Promise<void> = Promise.resolve();

  constructor(private readonly context: Context) {}

  /** Says that it waits, or waits no longer. What can't be told now is not told: it is for people to look at. */
  tell(queued: boolean): void {
    this.#told = this.#told
      .then(() => signalWorkflow(this.context, QUEUED_SIGNAL, { queued }))
      .catch((error: unknown) => {
        this.context.log.warn('a wait was not told', { queued, error });
      });
  }
}
