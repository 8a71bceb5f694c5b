/** Starts a run of a recipe. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import { randomBytes } from 'node:crypto';
import { recipeSummary } from '../domain/walk/summary.js';
import { WORKFLOWS } from '../domain/run/messages.js';
import type { WorkflowOf } from '../domain/run/messages.js';
import { TASK_QUEUE } from '../domain/run/task-queues.js';
import type { GivenRecipe } from './recipe-input.js';
import { UserError } from './user-error.js';

/** A run that was just started. */
export interface StartedRun {
  /** Its name, which is its workflow id. */
  readonly run: string;
  /** Temporal's id of this execution of it. */
  readonly runId: string;
}

/**
 * Starts the `recipe` workflow under a name.
 *
 * @throws {UserError} when a run of that name is open
 */
export async function startRun(
  client: Client,
  run: string,
  { input, recipe }: GivenRecipe,
): Promise<StartedRun> {
  try {
    const handle = await client.workflow.start<WorkflowOf<typeof WORKFLOWS.recipe>>(WORKFLOWS.recipe.name, {
      taskQueue: TASK_QUEUE,
      workflowId: run,
      args: [input],
      staticSummary: recipeSummary(recipe).slice(0, 200),
    });
    return { run, runId: handle.firstExecutionRunId };
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError)
      throw new UserError(`Run ${run} is open already.`);
    throw error;
  }
}

/** A name for a new run: what it runs, and when it was started, to the second. UTC. */
export function newRunName(recipeName: string, now: Date): string {
  const [day = '', time = ''] = now.toISOString().split('T');
  return `${recipeName}-${day.replaceAll('-', '')}-${time.slice(0, 8).replaceAll(':', '')}`;
}

/** A name for a run that somebody may start from a form later: no other that is begun in the same second has it. */
export function nameForLater(recipeName: string, now: Date): string {
  return `${newRunName(recipeName, now)}-${randomBytes(2).toString('hex')}`;
}
