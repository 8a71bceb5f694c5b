/** One training stage: continued training or SFT, through as many attempts as it takes. */
import { allHandlersFinished, condition, continueAsNew } from '@temporalio/workflow';
import { jobStateSchema } from './job-state.js';
import { JobRunner } from './run-job.js';
import type { JobEnd, JobInput } from './run-job.js';
import { relayProgress } from './stage-progress.js';

/** A stage's job with the title people know it by. */
export interface StageInput extends JobInput {
  readonly title: string;
}

/** Trains a stage until it is done, parked or paused. */
export async function trainingStage(input: StageInput): Promise<JobEnd> {
  const end = await runStage(input);
  return end.state === 'continues' ? continueAsNew<typeof trainingStage>({ ...input, state: end.with }) : end;
}

/** What every stage with a job does in one run of its workflow. */
export async function runStage(input: StageInput): ReturnType<JobRunner['run']> {
  relayProgress(input.folder, input.title);
  const end = await new JobRunner({ ...input, state: jobStateSchema.parse(input.state) }).run();
  await condition(allHandlersFinished);
  return end;
}
