/** Why a run does not answer: nobody may be there, or a worker that can't, which is mended elsewhere. */
import type { Client } from '@temporalio/client';
import { TASK_QUEUE } from '../domain/run/task-queues.js';
import { firstLine, innermostMessageOf } from '../domain/lib/text.js';
import { describeWorkflow } from '../temporal/workflow-state.js';

/** Newest events that are looked through for a workflow task that failed. */
const NEWEST_EVENTS = 5;

/**
 * What keeps a run from answering, in sentences with what to do about it. A worker counts as there while Temporal lists it as a
 * poller of the task queue, which it does for minutes after the last poll.
 */
export async function whyUnanswered(client: Client, run: string): Promise<string> {
  try {
    const { pollers } = await client.workflowService.describeTaskQueue({
      namespace: client.options.namespace,
      taskQueue: { name: TASK_QUEUE },
    });
    if (pollers.length === 0) return `No worker is there: start one with \`longhaul worker\`.`;
    const failing = await failingTask(client, run);
    if (failing !== null) return failing;
    const who = pollers.map(({ identity }) => identity ?? 'one without a name').join(', ');
    return (
      `Temporal has lately seen a worker (${who}), which may have ended since, be busy, or be kept from answering: ` +
      'the server may take no writes (is its disk full?). See `longhaul doctor` and the logs of both.'
    );
  } catch (error) {
    return `Temporal itself does not answer either: ${firstLine(innermostMessageOf(error))}.`;
  }
}

/** What a worker fails with whenever it takes the run up; null: it does not. */
async function failingTask(client: Client, run: string): Promise<string | null> {
  const described = await describeWorkflow(client, run);
  const attempt = described?.raw.pendingWorkflowTask?.attempt ?? 0;
  if (described === null || attempt <= 1) return null;
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: client.options.namespace,
    execution: { workflowId: run, runId: described.runId },
    maximumPageSize: NEWEST_EVENTS,
  });
  const failed = history?.events?.find(({ workflowTaskFailedEventAttributes: failure }) => Boolean(failure));
  const message = failed?.workflowTaskFailedEventAttributes?.failure?.message ?? 'see the log of the worker';
  return (
    `A worker is there, but can't go on with the run (tried ${String(attempt)} times): ${firstLine(message)}. ` +
    'See `longhaul doctor`.'
  );
}
