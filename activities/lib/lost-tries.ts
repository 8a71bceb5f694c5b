/** Tries of an activity that ended without a word, by what Temporal says of them: their worker died, or came to no heartbeat. */
import { ApplicationFailure } from '@temporalio/activity';
import type { Context } from '@temporalio/activity';
import { z } from 'zod';
import { describeWorkflow } from '../../src/temporal/workflow-state.js';

/** After so many in a row an activity is not tried again: it may be what its workers die of. */
export const MOST_LOST_TRIES = 8;

/** What heartbeats tell of it, beside whatever else they tell. */
const toldSchema = z.object({ lostTries: z.int().nonnegative() });

/**
 * Counts them for one try of an activity. Temporal knows of the last try alone; so each try tells the next one by its heartbeats how
 * many there were before.
 */
export class LostTries {
  /** In a row, just before this try. */
  #count: number;

  /** `most`: so many in a row are final. */
  constructor(
    private readonly context: Context,
    private readonly most = MOST_LOST_TRIES,
  ) {
    const told = toldSchema.safeParse(context.info.heartbeatDetails);
    this.#count = told.success ? told.data.lostTries : 0;
  }

  /**
   * Looks how the try before this one ended. To be awaited before the work: this try may get no further.
   * @throws ApplicationFailure `infrastructure`, not to be retried, when too many in a row were lost.
   */
  async look(): Promise<void> {
    if (this.context.info.attempt === 1) return;
    const told = this.#count;
    const last = await this.#last();
    if (last !== null) this.#count = last.isLost ? this.#count + 1 : 0;
    if (this.#count >= this.most) throw this.#refusal(last?.worker ?? '');
    if (this.#count > 0 || told > 0) await this.#tell(this.context.info.heartbeatDetails);
  }

  /** What a heartbeat is to tell, and the count with it. */
  in(details: unknown): unknown {
    return this.#count === 0 ? details : this.#with(details);
  }

  /** This try does what may take any number of workers. `details`: of its heartbeats. */
  survived(details: unknown): void {
    if (this.#count === 0) return;
    this.#count = 0;
    this.context.heartbeat(details);
    // The heartbeats of the SDK may wait for a while: the worker may not live so long.
    void this.#tell(details);
  }

  /** How the try before this one ended; null: nobody says. */
  async #last(): Promise<{ readonly isLost: boolean; readonly worker: string } | null> {
    try {
      const { activityId, workflowExecution } = this.context.info;
      if (workflowExecution === undefined) return null;
      const { workflowId, runId } = workflowExecution;
      const described = await describeWorkflow(this.context.client, workflowId, runId);
      const own = described?.raw.pendingActivities?.find((one) => one.activityId === activityId);
      if (own === undefined) return null;
      const isLost = Boolean(own.lastFailure?.timeoutFailureInfo);
      return { isLost, worker: own.lastWorkerIdentity ?? '' };
    } catch (error) {
      this.context.log.warn('how the last try ended is not known', { error });
      return null;
    }
  }

  /** Past the SDK, which tells nobody when a heartbeat has arrived. */
  async #tell(details: unknown): Promise<void> {
    try {
      await this.context.client.activity.heartbeat(this.context.info.taskToken, this.#with(details));
    } catch (error) {
      // A cancellation among it, which the SDK's next heartbeat brings too.
      this.context.log.warn('lost tries were not told', { count: this.#count, error });
    }
  }

  #with(details: unknown): object {
    return { ...(typeof details === 'object' ? details : {}), lostTries: this.#count };
  }

  #refusal(worker: string): ApplicationFailure {
    const message =
      `the last ${this.#count} tries of ${this.context.info.activityType} ended without a word: their workers ` +
      `(newest: ${worker === '' ? 'not known' : worker}) died, or came to no heartbeat, perhaps of this activity. ` +
      "What can be done: see to the workers' logs and to their machines' memory; then retry";
    return ApplicationFailure.create({ type: 'infrastructure', nonRetryable: true, message });
  }
}
