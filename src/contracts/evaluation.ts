/** Evaluation records (`records/<key>/<sample>.json`, create-only) and `results.json`, which gathers them. */
import { z } from 'zod';
import { digestSchema, instantSchema } from './common.js';

const recordBase = {
  schema: z.literal('longhaul.record/1'),
  key: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .describe('Digest of model, overrides and task settings: what the record is valid for'),
  sample: z
    .string()
    .regex(/^[a-z0-9-]+$/)
    .describe('Sample id, unique within the key; the same for every model, so that scores pair'),
  target: z.string(),
  lengthTokens: z.int().positive(),
  finishedAt: instantSchema,
};

/**
 * Why prompt and answer fill less than 97 % of the length: one pair more would not fit; other questions of the context take
 * more tokens than this one.
 */
export const SHORTFALLS = ['next-pair-too-long', 'shorter-question'] as const;

/** One finished sample. */
export const evaluationRecordSchema = z.discriminatedUnion('task', [
  z.strictObject({
    ...recordBase,
    task: z.enum(['kv-recall', 'needle']),
    depth: z.number().min(0).max(1),
    promptTokens: z.int().positive(),
    shortfall: z
      .enum(SHORTFALLS)
      .optional()
      .describe('Why prompt and answer fill less than 97 % of the length; left out where they fill it'),
    promptDigest: digestSchema.describe('SHA-256 of the prompt’s token ids as little-endian uint32'),
    expected: z.string(),
    output: z.string(),
    exactMatch: z.boolean(),
    answerLogProbability: z.number().describe('Sum over the expected answer’s tokens, nats'),
    answerTokens: z.int().positive(),
  }),
  z.strictObject({
    ...recordBase,
    task: z.literal('held-out-loss'),
    buckets: z.array(
      z.strictObject({
        from: z.int().nonnegative(),
        to: z.int().positive(),
        tokens: z.int().nonnegative(),
        lossSum: z.number().describe('Nats'),
      }),
    ),
  }),
]);
export type EvaluationRecord = z.infer<typeof evaluationRecordSchema>;

/** `results.json` of an evaluation stage: every record, sorted by target, task, length and sample. */
export const evaluationResultsSchema = z.strictObject({
  schema: z.literal('longhaul.results/1'),
  targets: z.array(z.strictObject({ name: z.string(), modelDigest: digestSchema, ropeTheta: z.number() })),
  records: z.array(evaluationRecordSchema),
});
export type EvaluationResults = z.infer<typeof evaluationResultsSchema>;
