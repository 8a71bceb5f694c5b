/** `attempts/<epoch>/outcome.json`, create-only: how an attempt ended, in the trainer's own words. Authoritative. */
import { z } from 'zod';
import { FAILURES, FAILURE_CLASSES } from '../domain/attempt/failure-class.js';
import type { FailureClass } from '../domain/attempt/failure-class.js';
import { recordOf } from '../domain/lib/record.js';
import { secondsByLabelSchema } from '../domain/lib/time.js';
import { digestSchema, epochSchema, instantSchema, modelRefSchema } from './common.js';
import { fingerprintSchema, headCommitSchema } from './checkpoint.js';

export { secondsByLabelSchema };

const common = {
  schema: z.literal('longhaul.outcome/1'),
  epoch: epochSchema,
  startedAt: instantSchema,
  endedAt: instantSchema,
  seconds: secondsByLabelSchema,
  fingerprint: fingerprintSchema,
  step: z.int().nonnegative().describe('Last optimizer step done; 0 for evaluations'),
  tokens: z.int().nonnegative(),
};

/** How an attempt ended. */
export const outcomeSchema = z.discriminatedUnion('result', [
  z.strictObject({
    ...common,
    result: z.literal('trained'),
    commit: headCommitSchema.describe('The final checkpoint'),
    model: modelRefSchema.describe('The Hugging Face export'),
    weightsDigest: digestSchema,
    firstLoss: z.number().describe('Mean loss over the first tenth of the steps (at least one)'),
    lastLoss: z.number().describe('Mean loss over the last tenth of the steps (at least one)'),
  }),
  z.strictObject({
    ...common,
    result: z.literal('evaluated'),
    samples: z.int().nonnegative(),
    reusedSamples: z.int().nonnegative().describe('Finished by an earlier attempt'),
    resultsDigest: digestSchema.describe("SHA-256 of results.json's bytes, in the stage's prefix"),
  }),
  z.strictObject({
    ...common,
    result: z.literal('ended'),
    class: z.enum(FAILURE_CLASSES).describe('Why'),
    message: z.string(),
    exception: z.string().describe('Exception type, empty for a signal'),
    frames: z.array(z.string()).describe('Innermost last, "file:function", for the signature'),
  }),
]);
export type Outcome = z.infer<typeof outcomeSchema>;

/** Exit code of the job's wrapper for each way to end. 137 and anything not listed is `unknown`. */
export const EXIT_CODES: Readonly<Record<FailureClass | 'done', number>> = {
  done: 0,
  ...recordOf(FAILURE_CLASSES, (one) => FAILURES[one].exitCode),
};
