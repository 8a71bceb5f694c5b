/** Resets runs as the Temporal UI does. */
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import type { recipe } from '../../workflows/recipe.js';

type Run = WorkflowHandle<typeof recipe>;

/** Resets a run to one of its completed workflow tasks, by its place among them, and gives the run that goes on from there. */
export async function resetRun(
  environment: TestWorkflowEnvironment,
  handle: Run,
  task: number,
): Promise<Run> {
  const { events } = await handle.fetchHistory();
  const tasks = (events ?? []).filter((event) => Boolean(event.workflowTaskCompletedEventAttributes));
  const { runId } = await handle.describe();
  await environment.client.workflowService.resetWorkflowExecution({
    namespace: environment.namespace ?? 'default',
    workflowExecution: { workflowId: handle.workflowId, runId },
    workflowTaskFinishEventId: tasks.at(task)?.eventId ?? null,
    reason: 'a test',
    requestId: randomUUID(),
  });
  return environment.client.workflow.getHandle<typeof recipe>(handle.workflowId);
}
