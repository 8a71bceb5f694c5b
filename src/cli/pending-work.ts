/** What Temporal knows of a workflow's activities that are not done: what they report, and what they wait to be tried again for. */
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { z } from 'zod';
import { attemptProgressSchema, warningOf } from '../domain/run/progress.js';
import type { AttemptProgress, Warning } from '../domain/run/progress.js';

type Pending = NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>;
type Activity = Pending[number];

/** What running activities say of themselves: attempts how far they are, curations at least in which phase. Beside that, how many tries were lost. */
const heartbeatSchema = z.union([
  z.object(attemptProgressSchema.shape),
  z.object({ phase: z.string().max(100) }),
]);
export type Heartbeat = AttemptProgress | { readonly phase: string };

/** Activities that are not done. */
export interface PendingWork {
  /** Newest heartbeat of an attempt or a curation; undefined: there is none, or none yet. */
  readonly progress: Heartbeat | undefined;
  /** An activity that has failed and is to be tried again; null: there is none. */
  readonly failing: Warning | null;
}

/** What is pending, by a workflow's description. */
export function pendingWork(pending: Pending): PendingWork {
  const progress = pending.map(progressOf).find((one) => one !== undefined);
  const failing = pending.find(
    (activity) =>
      Boolean(activity.nextAttemptScheduleTime) || (progress?.phase === 'queued' && !isHandedOver(activity)),
  );
  return { progress, failing: failing === undefined ? null : failureOf(failing) };
}

/** Whether the last try has left the job to the next one, as the worker's that watched it and was told to end. */
function isHandedOver({ lastFailure }: Activity): boolean {
  return Boolean(lastFailure?.applicationFailureInfo?.nextRetryDelay);
}

function progressOf({ heartbeatDetails }: Activity): Heartbeat | undefined {
  const payload = heartbeatDetails?.payloads?.[0];
  if (payload === undefined) return undefined;
  try {
    return heartbeatSchema.safeParse(defaultPayloadConverter.fromPayload(payload)).data;
  } catch {
    // Another activity's, in a form of its own.
    return undefined;
  }
}

function failureOf(activity: Activity): Warning | null {
  const { activityType, attempt, lastFailure, lastAttemptCompleteTime: ended } = activity;
  const message = lastFailure?.message ?? '';
  if (message === '') return null;
  const times = (attempt ?? 2) - 1;
  const at = new Date(ended ? Number(ended.seconds) * 1000 : Date.now()).toISOString();
  const tries = times === 1 ? 'once' : `${String(times)} times`;
  return warningOf(
    `${activityType?.name ?? 'an activity'} failed ${tries}, and is tried again: ${message}`,
    at,
  );
}
