/** What a job reports while it runs: `attempts/<epoch>/events/<nnnnnn>.json`, numbered from 1 without gaps. */
import { z } from 'zod';
import { JOB_PHASES } from '../domain/attempt/phase.js';
import { commitIdSchema, digestSchema, epochSchema, instantSchema } from './common.js';

/** Phases of a job, in the order they may come. The watchdog has a limit for each. */
export const jobPhaseSchema = z.enum(JOB_PHASES);
export type { JobPhase } from '../domain/attempt/phase.js';

const at = { at: instantSchema };

/** One event. */
export const jobEventSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('phase'), ...at, phase: jobPhaseSchema }),
  z.strictObject({
    type: z.literal('step'),
    ...at,
    step: z.int().positive().describe('Optimizer steps done, this one included'),
    tokens: z.int().positive().describe('Tokens consumed by the stage so far'),
    loss: z
      .number()
      .describe(
        'Cross-entropy in nats: the mean that the spec’s lossMean asks for, over the step’s valid tokens by default',
      ),
    validTokens: z.int().nonnegative(),
    learningRate: z.number(),
    gradientNorm: z.number().describe('Before clipping'),
    seconds: z.number().nonnegative().describe('Duration of the step'),
  }),
  z.strictObject({
    type: z.literal('commit'),
    ...at,
    commit: commitIdSchema,
    step: z.int().nonnegative(),
    tokens: z.int().nonnegative(),
    bytes: z.int().nonnegative(),
    stallSeconds: z.number().nonnegative().describe('Time training stood still for it'),
    seconds: z.number().nonnegative().describe('From the copy to HEAD moved'),
    manifestDigest: digestSchema
      .optional()
      .describe("SHA-256 of the checkpoint manifest's bytes; older trainers don't tell it"),
  }),
  z.strictObject({
    type: z.literal('sample'),
    ...at,
    target: z.string(),
    task: z.string(),
    done: z.int().nonnegative().describe('Samples of the whole job finished'),
    total: z.int().positive(),
  }),
  z.strictObject({
    type: z.literal('log'),
    ...at,
    level: z.enum(['info', 'warning', 'error']),
    message: z.string(),
  }),
]);
export type JobEvent = z.infer<typeof jobEventSchema>;

/** One event file. At most one per `flushSeconds`, at most `flushBytes` large. */
export const eventFileSchema = z.strictObject({
  schema: z.literal('longhaul.events/1'),
  epoch: epochSchema,
  index: z.int().positive(),
  events: z.array(jobEventSchema).min(1),
});
export type EventFile = z.infer<typeof eventFileSchema>;
