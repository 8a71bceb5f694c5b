/** One evaluation: every task on every target, one durable record per sample. */
import { continueAsNew } from '@temporalio/workflow';
import type { JobEnd } from './run-job.js';
import { runStage } from './training-stage.js';
import type { StageInput } from './training-stage.js';

/**
 * Evaluates until it is done, parked or paused; finished samples of earlier attempts count.
 * @throws ApplicationFailure of type `user-error` when the input is none.
 */
export async function evaluation(input: StageInput): Promise<JobEnd> {
  const end = await runStage(input);
  return end.state === 'continues' ? continueAsNew<typeof evaluation>({ ...input, state: end.with }) : end;
}
