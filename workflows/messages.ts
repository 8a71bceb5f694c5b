/** Messages of the workflows: what the Temporal UI and the command line can ask and tell them. */
import { defineQuery, defineSignal } from '@temporalio/workflow';
import type { AttemptProgress } from '../src/domain/progress.js';
import type { RunStatus } from '../src/domain/status.js';

/** Where the run is: every stage with state, step, loss and time. */
export const statusQuery = defineQuery<RunStatus>('status');

/** What the recipe comes to: steps, tokens, FLOPs, hours, cost and checkpoints, as text. */
export const planQuery = defineQuery<string>('plan');

/** From `runAttempt` to its stage: newest progress, sent at commits and at most once in a while. */
export const progressSignal = defineSignal<[AttemptProgress]>('progress');

/** From a stage to the run: newest progress of that stage. */
export const stageProgressSignal =
  defineSignal<[{ readonly folder: string; readonly progress: AttemptProgress }]>('stageProgress');
