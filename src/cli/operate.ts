/** Tells a run what an operator wants: the updates of the `recipe` workflow. */
import {
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  WorkflowUpdateStage,
} from '@temporalio/client';
import type { Client } from '@temporalio/client';
import type { OperatorAction } from '../domain/run/operator-actions.js';
import { LEDGER_WAITS } from '../domain/run/status.js';
import { innermostMessageOf } from '../domain/lib/text.js';
import { describeWorkflow } from '../temporal/workflow-state.js';
import { RunWatcher } from './run-watcher.js';
import { pausedText, temporalPauseOf, whyUnanswered } from './unanswered.js';
import { UserError } from './user-error.js';

/** How long a worker may take to answer. */
const ANSWER_MS = 30_000;

/**
 * Sends an operator action to a run and returns its answer, one sentence. A run that has taken the action answers once its ledger
 * has it: where the store keeps that waiting, the sentence says so.
 *
 * @throws {UserError} when there is no such run, when it refuses the action (with its reason), or when nobody takes it
 */
export async function operate(
  client: Client,
  run: string,
  action: OperatorAction,
  input: Readonly<Record<string, unknown>>,
  answerMs: number = ANSWER_MS,
): Promise<string> {
  const handle = client.workflow.getHandle(run);
  const deadline = Date.now() + answerMs;
  let isTaken = false;
  try {
    const update = await client.withDeadline(deadline, () =>
      handle.startUpdate<string, [typeof input]>(action, {
        args: [input],
        waitForStage: WorkflowUpdateStage.ACCEPTED,
      }),
    );
    isTaken = true;
    return await client.withDeadline(deadline, () => update.result());
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError) {
      throw new UserError(`${run} refuses ${action}: ${innermostMessageOf(error)}`);
    }
    if (error instanceof WorkflowNotFoundError) throw new UserError(await whyNotFound(client, run));
    if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
      if (isTaken) return await takenText(client, run, action);
      throw new UserError(
        `No worker has answered for ${run} in ${answerMs / 1000} s. ${await whyUnanswered(client, run)} ` +
          `It may still take the ${action} later: look at \`longhaul status ${run}\` before you repeat it.`,
      );
    }
    const pause = await temporalPauseOf(client, run).catch(() => null);
    if (pause !== null) throw new UserError(`${run} can't take the ${action}. ${pausedText(pause)}`);
    throw error;
  }
}

/** What is said of an action that the run has taken and has not answered yet. */
async function takenText(client: Client, run: string, action: OperatorAction): Promise<string> {
  const status = await new RunWatcher(client, run).read();
  const ledgerWaits = status?.warnings.filter((warning) => warning.startsWith(LEDGER_WAITS)) ?? [];
  const why = ledgerWaits.length === 0 ? 'its record is not in the ledger yet' : ledgerWaits.join('; ');
  return `${run} has taken the ${action}; ${why}. There is no need to repeat it.`;
}

/** Closed workflows take no updates; they are there all the same. */
async function whyNotFound(client: Client, run: string): Promise<string> {
  const described = await describeWorkflow(client, run);
  if (described === null) return `There is no run ${run}.`;
  return `The run ${run} is over (${described.status.name.toLowerCase()}); it takes no more actions.`;
}
