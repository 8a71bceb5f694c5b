/**
 * What the `status` query of the `recipe` workflow answers: where the run is and how it is going, in a form that the
 * command line, the report and the workflow's own current details all read. Plain JSON; instants are ISO 8601 in UTC.
 */
import { z } from 'zod';
import { FAILURE_CLASSES } from '../attempt/failure-class.js';
import { instantSchema } from '../lib/time.js';
import { warningSchema } from './progress.js';
import type { AttemptProgress } from './progress.js';

/** What kind of work a stage is. */
export const STAGE_KINDS = ['curation', 'rope-bump', 'training', 'sft', 'evaluation', 'report'] as const;
export type StageKind = (typeof STAGE_KINDS)[number];

/** Where a stage stands. `adopted`: its result was already in the store and was verified, not made again. */
export const STAGE_STATES = [
  'waiting',
  'running',
  'parked',
  'done',
  'failed',
  'skipped',
  'adopted',
  'cancelled',
] as const;
export type StageState = (typeof STAGE_STATES)[number];

/** Where a run stands. `parked`: a stage waits for an operator; `waiting`: a gate of the recipe waits for approval. */
export const RUN_STATES = [
  'running',
  'waiting',
  'paused',
  'parked',
  'completed',
  'failed',
  'cancelled',
] as const;
export type RunState = (typeof RUN_STATES)[number];

/** A checkpoint as far as a status tells of it. */
export const stageCheckpointSchema = z.strictObject({
  step: z.int().nonnegative().describe('Optimizer steps in it'),
  at: instantSchema.nullable().describe('When it was committed, by the clock of the job; null: not known'),
});
export type StageCheckpoint = z.infer<typeof stageCheckpointSchema>;

/** One stage of a run. Numbers that do not apply, or are not known yet, are null. */
export const stageStatusSchema = z.strictObject({
  folder: z
    .string()
    .min(1)
    .describe('<nn-name>: the folder below stages/, and the end of the child workflow’s id'),
  title: z.string().min(1).describe('For people: "Stage 1, 64K"'),
  kind: z.enum(STAGE_KINDS),
  state: z.enum(STAGE_STATES),
  step: z.int().nonnegative().nullable().describe('Optimizer steps done; of an evaluation, samples done'),
  steps: z
    .int()
    .nonnegative()
    .nullable()
    .describe('Optimizer steps in all; of an evaluation, samples in all'),
  tokens: z.int().nonnegative().nullable().describe('Tokens consumed by the stage'),
  loss: z.number().nullable().describe('Loss of the newest step, nats per token'),
  tokensPerSecond: z.number().nonnegative().nullable().describe('Over the last steps'),
  secondsLeft: z.number().nonnegative().nullable().describe('Estimate for this stage'),
  attempts: z.int().nonnegative().describe('Attempts begun; 0 for a stage that needs no job'),
  startedAt: instantSchema.nullable(),
  endedAt: instantSchema.nullable(),
  note: z
    .string()
    .describe('One line for people: what it is doing, what it made or why it failed; may be empty'),
  checkpoint: stageCheckpointSchema
    .nullable()
    .optional()
    .describe('Newest checkpoint; null: there is none yet; absent: not known, or the stage makes none'),
  warning: warningSchema
    .nullable()
    .optional()
    .describe(
      'What its job has to say that stops nothing, of a store that is full say; null, absent: nothing',
    ),
});
export type StageStatus = z.infer<typeof stageStatusSchema>;

/** Why a run is parked, and what an operator can do about it. */
export const parkedSchema = z.strictObject({
  folder: z.string().min(1).describe('The stage that is parked'),
  class: z.enum(FAILURE_CLASSES).describe('Failure class of the last attempt'),
  message: z.string().describe('What went wrong, in the job’s or the scheduler’s words'),
  why: z.string().describe('Why it was not simply tried again'),
  attempts: z.int().nonnegative().describe('Attempts so far'),
  checkpoints: z
    .array(z.string())
    .nullable()
    .describe(
      'Ids of the checkpoints a retry can begin at, newest first; none: it begins at the start; null: not known',
    ),
  logTail: z.array(z.string()).describe('Last lines of the job’s log'),
  choices: z.array(z.string()).describe('What can be done, one sentence each'),
});
export type Parked = z.infer<typeof parkedSchema>;

/** How far the run's ledger goes. */
export const ledgerTipSchema = z.strictObject({
  records: z.int().nonnegative().describe('Records in the chain'),
  tip: z.string().nullable().describe('sha256:… of the newest record’s bytes; null: there is none'),
});
export type LedgerTip = z.infer<typeof ledgerTipSchema>;

/** How a run's warning begins that its ledger's records wait for the store. */
export const LEDGER_WAITS = 'the ledger waits for the store';

/** The whole run. */
export const runStatusSchema = z.strictObject({
  run: z.string().min(1).describe('Run name: the workflow id and the last component of the run’s prefix'),
  preset: z.string().min(1).describe('Preset the recipe started from'),
  state: z.enum(RUN_STATES),
  stages: z.array(stageStatusSchema).describe('In the order in which they run'),
  runUrl: z.string().describe('s3://bucket/prefix/runs/<run>'),
  recipeDigest: z.string().describe('sha256:… of the resolved recipe; empty until the recipe is frozen'),
  startedAt: instantSchema,
  endedAt: instantSchema.nullable(),
  reportUrl: z.string().nullable().describe('s3:// URL of report/index.html once it is written'),
  problems: z.array(z.string()).describe('Why the run failed or is parked, one sentence each, with its path'),
  warnings: z
    .array(z.string())
    .default([])
    .describe('What stops nothing and should be known, one sentence each: messages that were dropped, say'),
  parked: parkedSchema.nullable().describe('What is parked; null: nothing is'),
  waitingFor: z
    .string()
    .nullable()
    .describe('What a run waits for that is paused, pausing or before a gate, in one sentence'),
  ledger: ledgerTipSchema.describe(
    'The chain’s tip as the workflow knows it: rewriting the store alone is noticed',
  ),
});
export type RunStatus = z.infer<typeof runStatusSchema>;

/** The stage to show as the current one: the first running or parked, else the first failed; undefined otherwise. */
export function currentStage(status: RunStatus): StageStatus | undefined {
  return (
    status.stages.find((stage) => stage.state === 'running' || stage.state === 'parked') ??
    status.stages.find((stage) => stage.state === 'failed')
  );
}

/** Whether a stage of this kind commits checkpoints. */
export function commitsCheckpoints(kind: StageKind): boolean {
  return kind === 'training' || kind === 'sft';
}

/** What a stage's status says of the newest checkpoint and of the warning that stands. */
export function seenOf(progress: AttemptProgress): Pick<StageStatus, 'checkpoint' | 'warning'> {
  const { phase, commit, commitStep, commitAt, warning = null } = progress;
  if (commit !== null && commitStep !== undefined)
    return { checkpoint: { step: commitStep, at: commitAt ?? null }, warning };
  // Before a job has said anything nobody may have looked what there is.
  return commit === null && phase !== 'queued' ? { checkpoint: null, warning } : { warning };
}
