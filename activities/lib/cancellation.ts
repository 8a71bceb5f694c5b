/** What a cancelled activity is to do with its job: Temporal says why it was cancelled, and sometimes that is not enough. */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import type { StopReason } from '../../src/domain/attempt/verdict.js';
import { messageOf } from '../../src/domain/lib/text.js';
import { describeWorkflow, isOpen } from '../../src/temporal/workflow-state.js';

/** Stop the job, or leave it to another worker's observer. */
export type JobFate = Extract<StopReason, { kind: 'stop' | 'detach' }>;

/** Whether jobs of a worker that shuts down go on (others adopt them) or save and stop (a laptop is being closed). */
export type OnShutdown = 'detach' | 'stop';

/**
 * Whether the workflow wants this activity to end. From then on Temporal tries nothing again: what is thrown is final, as if the
 * work had failed for good.
 */
export function isCancelRequested({ cancellationDetails }: Context): boolean {
  return cancellationDetails?.cancelRequested === true;
}

/** Whether an error ends an activity in any case: it says that it was cancelled, or that no other try would help. */
export function isFinal(error: unknown): boolean {
  return (
    error instanceof CancelledFailure || (error instanceof ApplicationFailure && error.nonRetryable === true)
  );
}

/**
 * Does an activity's work, of which a cancellation leaves nothing to save.
 * @throws CancelledFailure, once the workflow has cancelled the activity, in place of everything that would be tried again.
 */
export async function orCancelled<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isFinal(error) || !isCancelRequested(Context.current())) throw error;
    throw new CancelledFailure(`cancelled, and then: ${messageOf(error)}`);
  }
}

/** Decides from the cancellation's details. `notFound` alone does not tell a closed workflow from a superseded activity. */
export async function fateOf(context: Context, onShutdown: OnShutdown): Promise<JobFate> {
  const details = context.cancellationDetails;
  if (details?.cancelRequested === true) return { kind: 'stop', why: 'cancelled' };
  if (details?.paused === true) return { kind: 'stop', why: 'paused' };
  if (details?.timedOut === true || details?.reset === true) return { kind: 'detach', why: 'superseded' };
  if (details?.notFound === true) {
    return (await isClosed(context))
      ? { kind: 'stop', why: 'closed' }
      : { kind: 'detach', why: 'superseded' };
  }
  return { kind: onShutdown, why: 'worker-shutdown' };
}

async function isClosed({ client, info }: Context): Promise<boolean> {
  const execution = info.workflowExecution;
  if (execution === undefined) return true;
  try {
    const described = await describeWorkflow(client, execution.workflowId, execution.runId);
    return described === null || !isOpen(described);
  } catch {
    // A server that does not answer says nothing: whoever watches the job next asks again.
    return false;
  }
}
