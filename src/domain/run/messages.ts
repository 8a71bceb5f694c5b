/**
 * What there is to start, ask and tell in Temporal: every workflow, query and signal by its name, with the schemas of what goes in and
 * what comes out. Both ends read it: workflows define their handlers by it (workflows/messages.ts), and workers, the command line and
 * tests speak to them by it (src/temporal/messages.ts). Updates have their table in operator-actions.ts, search attributes theirs in
 * search-attributes.ts. Pure.
 */
import { z } from 'zod';
import { attemptBudgetsSchema } from '../attempt/policy.js';
import { DIGEST } from '../lib/digest.js';
import { janitorInputSchema, janitorReportSchema } from './janitor.js';
import { attemptProgressSchema, warningSchema } from './progress.js';
import { runStatusSchema } from './status.js';

/** A workflow that is started from outside. */
export interface WorkflowContract<Input, Result> {
  /** Its type in Temporal, which is the name of its function. */
  readonly name: string;
  /** Of its one argument, which may be left out. */
  readonly input: z.ZodType<Input>;
  readonly result: z.ZodType<Result>;
}

/** A question, which changes nothing. */
export interface QueryContract<Answer> {
  /** Its name in Temporal. */
  readonly name: string;
  readonly answer: z.ZodType<Answer>;
  /** What the Temporal UI says of it. */
  readonly meaning: string;
}

/** A message that is answered by nobody. */
export interface SignalContract<Payload> {
  /** Its name in Temporal. */
  readonly name: string;
  /** Of its one payload. */
  readonly payload: z.ZodType<Payload>;
  /** What the Temporal UI says of it. */
  readonly meaning: string;
}

/** What a completed run comes to. */
export const recipeResultSchema = z.strictObject({
  run: z.string().min(1).describe('Its name, which is the workflow id'),
  runUrl: z.string().describe('s3://bucket/prefix/runs/<run>'),
  recipeDigest: z.string().regex(DIGEST).describe('sha256:… of the resolved recipe'),
  reportUrl: z.string().nullable().describe('s3:// URL of report/index.html; null: the report was left out'),
  models: z
    .record(
      z.string(),
      z.strictObject({
        url: z.string().describe('Prefix of a Hugging Face folder'),
        digest: z.string().regex(DIGEST).describe('sha256:… of its manifest’s bytes'),
      }),
    )
    .describe('Final weights, by the stage’s name in the recipe'),
});
export type RecipeResult = Readonly<z.output<typeof recipeResultSchema>>;

/** Workflows that are started from outside. */
export const WORKFLOWS = {
  /** A run. A recipe is whatever JSON `parseRecipe` takes; nothing at all is one too. */
  recipe: { name: 'recipe', input: z.unknown(), result: recipeResultSchema },
  /** A pass of the janitor. */
  janitor: { name: 'janitor', input: janitorInputSchema, result: janitorReportSchema },
} as const satisfies Record<string, WorkflowContract<unknown, unknown>>;

/** Workflows that a run starts for its stages: what they take and return is between them, in workflows/. */
export const STAGE_WORKFLOWS = {
  curation: 'curation',
  training: 'trainingStage',
  evaluation: 'evaluation',
} as const;

/** The function of a workflow, as Temporal's client wants to know it. */
export type WorkflowOf<Contract extends WorkflowContract<unknown, unknown>> = (
  input?: z.output<Contract['input']>,
) => Promise<z.output<Contract['result']>>;

const folder = z.string().min(1).max(100).describe('Stage folder, <nn-name>');

const queued = z.boolean().describe('true: it waits, since as many run as may; false: it waits no longer');

/** What runs and stages can be asked. */
export const QUERIES = {
  /** Of a run. */
  status: {
    name: 'status',
    answer: runStatusSchema,
    meaning: 'Where the run is: every stage with state, step, loss and time',
  },
  /** Of a run; text. */
  plan: {
    name: 'plan',
    answer: z.string(),
    meaning: 'What the recipe comes to: steps, tokens, FLOPs, hours, cost and checkpoints',
  },
  /** Of a stage with a job. */
  waiting: {
    name: 'waiting',
    answer: warningSchema.nullable(),
    meaning: 'What the stage waits for between two attempts; null: it waits for nothing',
  },
} as const satisfies Record<string, QueryContract<unknown>>;

/** What is told to runs and stages by their own parts. People have updates. */
export const SIGNALS = {
  /** From `runAttempt` to its stage: newest progress, sent at commits and at most once in a while. */
  progress: {
    name: 'progress',
    payload: attemptProgressSchema,
    meaning: 'Newest progress of the running attempt (sent by the worker, not by people)',
  },
  /** From a stage to its run: the same. */
  stageProgress: {
    name: 'stageProgress',
    payload: z.strictObject({ folder, progress: attemptProgressSchema }),
    meaning: 'Newest progress of a stage (sent by the stage, not by people)',
  },
  /** From `runAttempt` and `curateDataset` to their stage: when they begin to wait for a place, and when they have one. */
  queued: {
    name: 'queued',
    payload: z.strictObject({ queued }),
    meaning: 'Whether it waits for a place (sent by the worker, not by people)',
  },
  /** From a stage to its run: the same. */
  stageQueued: {
    name: 'stageQueued',
    payload: z.strictObject({ queued, folder }),
    meaning: 'Whether a stage waits for a place (sent by the stage, not by people)',
  },
  /** From a run to its stage: save, stop and return. It carries nothing, and whatever it carries is not looked at. */
  pauseStage: {
    name: 'pauseStage',
    payload: z.undefined(),
    meaning: 'Saves and stops the running attempt (sent by the run, after its `pause`)',
  },
  /** From a run to its stage: other budgets from now on. */
  setBudgets: {
    name: 'setBudgets',
    payload: attemptBudgetsSchema,
    meaning: 'New budgets per failure class (sent by the run, after its `setBudget`)',
  },
} as const satisfies Record<string, SignalContract<unknown>>;
