/** Tells an activity's workflow that what it is to run waits for a place: heartbeats, which say so too, are not seen by workflows. */
import type { Context } from '@temporalio/activity';
import { SIGNALS } from '../../src/domain/run/messages.js';
import { signalWorkflow } from './signal.js';

/** What one activity tells of its wait. Each message costs the workflow a few events. */
export class QueueTeller {
  #told: Promise<void> = Promise.resolve();

  constructor(private readonly context: Context) {}

  /** Says that it waits, or waits no longer. What can't be told now is not told: it is for people to look at. */
  tell(queued: boolean): void {
    this.#told = this.#told
      .then(() => signalWorkflow(this.context, SIGNALS.queued, { queued }))
      .catch((error: unknown) => {
        this.context.log.warn('a wait was not told', { queued, error });
      });
  }
}
