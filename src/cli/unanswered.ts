/** Why a run does not answer: nobody may be there, or a worker that can't, which is mended elsewhere. */
import type { Client } from '@temporalio/client';
import { TASK_QUEUE } from '../domain/run/task-queues.js';
import { firstLine, innermostMessageOf } from '../domain/lib/text.js';
import { describeWorkflow, pauseOf } from '../temporal/workflow-state.js';
import type { TemporalPause } from '../temporal/workflow-state.js';

/** Newest events that are looked through for a workflow task that failed. */
const NEWEST_EVENTS = 5;

/**
 * What keeps a run from answering, in sentences with what to do about it. A worker counts as there while Temporal lists it as a
 * poller of the task queue, which it does for minutes after the last poll.
 */
export async function whyUnanswered(client: Client, run: string): Promise<string> {
  try {
    const pause = await temporalPauseOf(client, run);
    if (pause !== null) return pausedText(pause);
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

/** The pause under which Temporal itself holds a run, where it answers nothing and takes no action; null: none. */
export async function temporalPauseOf(client: Client, run: string): Promise<TemporalPause | null> {
  const described = await describeWorkflow(client, run);
  return described === null ? null : pauseOf(described);
}

/** What there is to say of that pause, and to do about it. */
export function pausedText({ by, reason, since }: TemporalPause): string {
  const when = since === null ? '' : ` since ${since.toISOString().slice(0, 19)}Z`;
  const who = by === '' ? '' : ` by ${by}`;
  const why = reason === '' ? '' : ` (“${reason}”)`;
  return (
    `Temporal's own pause holds it${when}${who}${why}: it begins nothing new and takes no action, while a job that runs goes on. ` +
    '“Unpause Workflow” on its page in the Temporal UI lets it go on.'
  );
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
