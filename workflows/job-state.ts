/** What a stage's workflow carries from one of its runs to the next (continue-as-new): plain JSON, versioned, parsed. */
import { z } from 'zod';
import { stepWindowSchema } from '../src/contracts/attempt.js';
import { FAILURE_CLASSES } from '../src/domain/failure-class.js';
import { EMPTY_CHAIN } from '../src/domain/ledger-chain.js';
import { retryFromSchema } from '../src/domain/operator-actions.js';
import { ledgerTipSchema } from '../src/domain/status.js';
import { watchdogLearnedSchema } from '../src/domain/watchdog.js';

const attemptRecordSchema = z.strictObject({
  epoch: z.int().positive(),
  class: z.enum(FAILURE_CLASSES),
  signature: z.string(),
  progressed: z.boolean(),
  step: z.int().nonnegative(),
  node: z.string().nullable(),
});

/** State of a stage between two attempts. */
export const jobStateSchema = z.strictObject({
  schema: z.literal('longhaul.job-state/1'),
  attempts: z.int().nonnegative().describe('Attempts so far, over all runs of the workflow'),
  records: z.array(attemptRecordSchema).describe('Those that the policy still looks at'),
  wallSeconds: z.number().nonnegative().describe('Of all attempts'),
  sinceCommit: z
    .strictObject({ attempts: z.int().nonnegative(), wallSeconds: z.number().nonnegative() })
    .describe('Used up since the newest commit or sample'),
  interruptions: z.int().nonnegative().describe('Attempts that the world ended, not the job'),
  skipSteps: z.array(stepWindowSchema).describe('Data windows left out since NaN or a loss spike'),
  learned: watchdogLearnedSchema,
  why: z.string().describe('Why there is a next attempt'),
  from: retryFromSchema.describe('Where the next attempt begins'),
  ledger: ledgerTipSchema,
  unrecorded: z
    .boolean()
    .optional()
    .describe('Whether the stage’s ledger may lack the end of an attempt. Absent: it lacks none'),
});
export type JobState = z.infer<typeof jobStateSchema>;

/** Before the first attempt. */
export const NEW_JOB: JobState = {
  schema: 'longhaul.job-state/1',
  attempts: 0,
  records: [],
  wallSeconds: 0,
  sinceCommit: { attempts: 0, wallSeconds: 0 },
  interruptions: 0,
  skipSteps: [],
  learned: {},
  why: 'the first attempt',
  from: 'head',
  ledger: EMPTY_CHAIN,
};
