/** Tells a run what an operator wants: the updates of the `recipe` workflow. */
import {
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import type { Client } from '@temporalio/client';
import type { OperatorAction } from '../domain/operator-actions.js';
import { innermostMessageOf } from '../domain/text.js';
import { describeWorkflow } from '../temporal/workflow-state.js';
import { UserError } from './user-error.js';

/** How long a worker may take to answer. */
const ANSWER_MS = 30_000;

/**
 * Sends an operator action to a run and returns its answer, one sentence.
 *
 * @throws {UserError} when there is no such run, when it refuses the action (with its reason), or when no worker answers
 */
export async function operate(
  client: Client,
  run: string,
  action: OperatorAction,
  input: Readonly<Record<string, unknown>>,
  answerMs: number = ANSWER_MS,
): Promise<string> {
  const handle = client.workflow.getHandle(run);
  try {
    return await client.withDeadline(Date.now() + answerMs, () =>
      handle.executeUpdate<string, [typeof input]>(action, { args: [input] }),
    );
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError) {
      throw new UserError(`${run} refuses ${action}: ${innermostMessageOf(error)}`);
    }
    if (error instanceof WorkflowNotFoundError) throw new UserError(await whyNotFound(client, run));
    if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
      throw new UserError(
        `No worker has answered for ${run} in ${answerMs / 1000} s: start one with \`longhaul worker\`. ` +
          `It may still take the ${action} when it comes up: look at \`longhaul status ${run}\` before you repeat it.`,
      );
    }
    throw error;
  }
}

/** Closed workflows take no updates; they are there all the same. */
async function whyNotFound(client: Client, run: string): Promise<string> {
  const described = await describeWorkflow(client, run);
  if (described === null) return `There is no run ${run}.`;
  return `The run ${run} is over (${described.status.name.toLowerCase()}); it takes no more actions.`;
}
