/** The schedule that the janitor comes by. */
import { Client, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client';
import type {
  ConnectionLike,
  ScheduleOptions,
  ScheduleOptionsStartWorkflowAction,
  Workflow,
} from '@temporalio/client';
import { JANITOR_EVERY_SECONDS, JANITOR_ID } from '../domain/run/janitor.js';
import { WORKFLOWS } from '../domain/run/messages.js';
import { TASK_QUEUE } from '../domain/run/task-queues.js';

/** What the schedule does and when, as of this version. */
const definition: Omit<ScheduleOptions<ScheduleOptionsStartWorkflowAction<Workflow>>, 'scheduleId'> = {
  spec: { intervals: [{ every: JANITOR_EVERY_SECONDS * 1000 }] },
  action: {
    type: 'startWorkflow',
    workflowType: WORKFLOWS.janitor.name,
    workflowId: JANITOR_ID,
    taskQueue: TASK_QUEUE,
    args: [],
    workflowExecutionTimeout: '1 hour',
  },
  policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
};

/**
 * Creates the schedule, or brings an older one up to date; one that an operator has paused stays paused. Safe to repeat and
 * to race. Then the janitor comes once at once: who knows what happened while no worker was there.
 */
export async function ensureJanitor(connection: ConnectionLike, namespace: string): Promise<void> {
  const { schedule } = new Client({ connection, namespace });
  try {
    await schedule.create({ scheduleId: JANITOR_ID, ...definition });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await schedule.getHandle(JANITOR_ID).update(({ state }) => ({ ...definition, state }));
  }
  await schedule.getHandle(JANITOR_ID).trigger(ScheduleOverlapPolicy.SKIP);
}
