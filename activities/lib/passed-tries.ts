/** Tries of activities that ended with what is known to pass. */
import type { Info } from '@temporalio/activity';

/** An activity of a workflow run. */
type Activity = Pick<Info, 'activityId' | 'workflowExecution'>;

/** Activities that are kept in mind; those of others, which went on elsewhere, are forgotten. */
const MOST_ACTIVITIES = 1000;

/** Counts such tries of the activities that this worker tries. */
export class PassedTries {
  readonly #counts = new Map<string, number>();

  /** How many tries of an activity have passed like that. */
  of(activity: Activity): number {
    return this.#counts.get(keyOf(activity)) ?? 0;
  }

  /** Counts the present one. */
  add(activity: Activity): void {
    const count = this.of(activity) + 1;
    this.forget(activity);
    this.#counts.set(keyOf(activity), count);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > MOST_ACTIVITIES && oldest !== undefined) this.#counts.delete(oldest);
  }

  /** The activity has ended. */
  forget(activity: Activity): void {
    this.#counts.delete(keyOf(activity));
  }
}

function keyOf({ activityId, workflowExecution }: Activity): string {
  return `${workflowExecution?.workflowId ?? ''}/${workflowExecution?.runId ?? ''}/${activityId}`;
}
