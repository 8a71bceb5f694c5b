/**
 * `attempts/<epoch>/attempt.json`, create-only, written by the control plane before it launches the attempt's job: what
 * holds for this attempt alone. A job reads it at its start; without one, nothing is skipped and nothing is known.
 */
import { z } from 'zod';
import { HEAD_ANCESTORS, headCommitSchema } from './checkpoint.js';
import { digestSchema, epochSchema, instantSchema } from './common.js';

/** Optimizer steps, both ends included, whose data is consumed and whose update is left out. */
export const stepWindowSchema = z
  .strictObject({
    first: z.int().positive().describe('First optimizer step left out, from 1'),
    last: z.int().positive().describe('Last optimizer step left out; not before first'),
  })
  .refine(({ first, last }) => last >= first, { path: ['last'], error: 'last must not be before first' })
  .describe('Optimizer steps, inclusive, whose data is consumed but whose update is left out');
export type StepWindow = z.infer<typeof stepWindowSchema>;

/** What the control plane tells one attempt. */
export const attemptSchema = z.strictObject({
  schema: z.literal('longhaul.attempt/1'),
  epoch: epochSchema,
  owner: z.string().describe('Token of the claim that made this epoch'),
  previousOwner: z
    .string()
    .min(1)
    .optional()
    .describe('Token of the claim that made the epoch before; absent: there is none, or it is not known'),
  specDigest: digestSchema
    .optional()
    .describe("SHA-256 of the bytes of the spec's object; a spec that has another one is refused"),
  startedFrom: headCommitSchema
    .nullable()
    .describe('The commit that HEAD named when the epoch was claimed; null: none'),
  ancestors: z
    .array(headCommitSchema)
    .max(HEAD_ANCESTORS)
    .optional()
    .describe(
      'The earlier commits that HEAD named then, newest first; a HEAD that says otherwise is refused',
    ),
  skipSteps: z
    .array(stepWindowSchema)
    .describe(
      'Data windows recorded after NaN or a loss spike; the same for every later attempt of the stage',
    ),
  meanSecondsBetweenInterruptions: z
    .number()
    .positive()
    .max(1e10)
    .nullable()
    .describe(
      'What the recipe assumes, corrected by what the stage has seen; null: unknown. Decides how often everySteps "auto" saves',
    ),
  createdAt: instantSchema,
});
export type AttemptFile = z.infer<typeof attemptSchema>;
