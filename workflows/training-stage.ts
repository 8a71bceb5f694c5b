/** One training stage: continued training or SFT, through as many attempts as it takes. */
import { allHandlersFinished, condition, continueAsNew } from '@temporalio/workflow';
import { z } from 'zod';
import { parsedInput } from './incoming.js';
import { JobRunner, jobInputSchema } from './run-job.js';
import type { JobEnd } from './run-job.js';
import { StagePage } from './stage-progress.js';

/** A stage's job with the title people know it by. */
export const stageInputSchema = jobInputSchema.extend({ title: z.string().min(1).max(200) });
export type StageInput = z.output<typeof stageInputSchema>;

/**
 * Trains a stage until it is done, parked or paused.
 * @throws ApplicationFailure of type `user-error` when the input is none.
 */
export async function trainingStage(input: StageInput): Promise<JobEnd> {
  const end = await runStage(input);
  return end.state === 'continues' ? continueAsNew<typeof trainingStage>({ ...input, state: end.with }) : end;
}

/** What every stage with a job does in one run of its workflow. */
export async function runStage(input: StageInput): ReturnType<JobRunner['run']> {
  const { title, ...job } = parsedInput(stageInputSchema, input);
  const page = new StagePage(job.folder, title, job.spec.kind === 'train' ? 'training' : 'evaluation');
  const end = await new JobRunner(job, page).run();
  await condition(allHandlersFinished);
  return end;
}
