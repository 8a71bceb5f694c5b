/** Messages from an activity to the workflow that it belongs to. */
import type { Context } from '@temporalio/activity';
import type { SignalContract } from '../../src/domain/run/messages.js';
import { tell } from '../../src/temporal/messages.js';
import { tooLarge } from './sizes.js';

/**
 * Signals the activity's workflow; without one, nothing happens.
 * @throws Error that names the activity and the signal when that says more than Temporal takes; whatever the client throws.
 */
export async function signalWorkflow<Payload>(
  context: Context,
  signal: SignalContract<Payload>,
  value: Payload,
): Promise<void> {
  const { workflowExecution: execution, activityType } = context.info;
  if (execution === undefined) return;
  const problem = tooLarge(`the signal ${signal.name} of ${activityType}`, value);
  if (problem !== null) throw new Error(problem);
  await tell(context.client.workflow.getHandle(execution.workflowId, execution.runId), signal, value);
}
