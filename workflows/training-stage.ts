/** One training stage: continued training or SFT, through as many attempts as it takes. */
import { allHandlersFinished, condition } from '@temporalio/workflow';
import { runJob } from './run-job.js';
import type { JobInput, JobResult } from './run-job.js';
import { relayProgress } from './stage-progress.js';

/** A stage's job with the title people know it by. */
export interface StageInput extends JobInput {
  readonly title: string;
}

/**
 * Trains a stage to its last step.
 * @throws ApplicationFailure of the failure class whose budget is used up.
 */
export async function trainingStage(input: StageInput): Promise<JobResult> {
  relayProgress(input.folder, input.title);
  const result = await runJob(input);
  await condition(allHandlersFinished);
  return result;
}
