/** Messages of the workflows: what the Temporal UI and the command line can ask and tell them. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import { z } from 'zod';
import type { AttemptBudgets } from '../src/domain/attempt/policy.js';
import type { OperatorInput } from '../src/domain/run/operator-actions.js';
import { attemptProgressSchema } from '../src/domain/run/progress.js';
import type { AttemptProgress, Warning } from '../src/domain/run/progress.js';
import type { RunStatus } from '../src/domain/run/status.js';

/** Where the run is: every stage with state, step, loss and time. */
export const statusQuery = defineQuery<RunStatus>('status');

/** What the recipe comes to: steps, tokens, FLOPs, hours, cost and checkpoints, as text. */
export const planQuery = defineQuery<string>('plan');

/** What a stage waits for between two attempts; null: it waits for nothing. */
export const waitingQuery = defineQuery<Warning | null>('waiting');

/** From `runAttempt` to its stage: newest progress, sent at commits and at most once in a while. */
export const progressSignal = defineSignal<[AttemptProgress]>('progress');

/** Newest progress of a stage. */
export const stageProgressSchema = z.strictObject({
  folder: z.string().min(1).max(100).describe('Stage folder, <nn-name>'),
  progress: attemptProgressSchema,
});

/** From a stage to the run: newest progress of that stage. */
export const stageProgressSignal = defineSignal<[z.infer<typeof stageProgressSchema>]>('stageProgress');

/** Whether what a stage is to run waits for a place. */
export const queuedSchema = z.strictObject({
  queued: z.boolean().describe('true: it waits, since as many run as may; false: it waits no longer'),
});

/** From `runAttempt` and `curateDataset` to their stage: when they begin to wait for a place, and when they have one. */
export const queuedSignal = defineSignal<[z.infer<typeof queuedSchema>]>('queued');

/** The same of a stage. */
export const stageQueuedSchema = queuedSchema.extend({
  folder: z.string().min(1).max(100).describe('Stage folder, <nn-name>'),
});

/** From a stage to the run: that it waits for a place, and that it has one. */
export const stageQueuedSignal = defineSignal<[z.infer<typeof stageQueuedSchema>]>('stageQueued');

/** From the run to a stage: save, stop and return. It carries nothing. */
export const pauseSignal = defineSignal('pauseStage');

/** From the run to a stage: other budgets from now on. */
export const budgetsSignal = defineSignal<[AttemptBudgets]>('setBudgets');

/** Operator actions, as updates of the run. Each answers with one sentence that says what was done. */
export const pauseUpdate = defineUpdate<string, [OperatorInput<'pause'>]>('pause');
export const resumeUpdate = defineUpdate<string, [OperatorInput<'resume'>]>('resume');
export const retryStageUpdate = defineUpdate<string, [OperatorInput<'retryStage'>]>('retryStage');
export const skipStageUpdate = defineUpdate<string, [OperatorInput<'skipStage'>]>('skipStage');
export const abortUpdate = defineUpdate<string, [OperatorInput<'abort'>]>('abort');
export const approveUpdate = defineUpdate<string, [OperatorInput<'approve'>]>('approve');
export const setBudgetUpdate = defineUpdate<string, [OperatorInput<'setBudget'>]>('setBudget');
