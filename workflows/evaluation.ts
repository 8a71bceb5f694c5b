/** One evaluation: every task on every target, one durable record per sample. */
import { allHandlersFinished, condition } from '@temporalio/workflow';
import { runJob } from './run-job.js';
import type { JobResult } from './run-job.js';
import { relayProgress } from './stage-progress.js';
import type { StageInput } from './training-stage.js';

/**
 * Evaluates to the last sample; finished samples of earlier attempts count.
 * @throws ApplicationFailure of the failure class whose budget is used up.
 */
export async function evaluation(input: StageInput): Promise<JobResult> {
  relayProgress(input.folder, input.title);
  const result = await runJob(input);
  await condition(allHandlersFinished);
  return result;
}
