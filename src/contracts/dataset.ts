/** `datasets/<name>.<digest>/manifest.json`: a curated dataset of MDS shards. */
import { z } from 'zod';
import { digestSchema } from './common.js';

/** One MDS shard. Columns: input_ids (ndarray:uint32), indices (ndarray:uint32, n×2 half-open bounds), domain (str), and mask (ndarray:uint8) for chats. */
export const shardSchema = z.strictObject({
  file: z.string().min(1).describe("Name below the dataset's prefix"),
  bytes: z.int().positive(),
  sha256: digestSchema,
  firstRow: z.int().nonnegative(),
  rows: z.int().positive(),
  rowDomains: z.array(z.int().nonnegative()).describe('Per row, index into domains'),
  rowSumSquares: z.array(z.int().positive()).describe('Per row, Σ document length²: its attention cost'),
});

/** Where text came from and what was refused. */
export const sourceCountSchema = z.strictObject({
  source: z.string().min(1),
  files: z.int().nonnegative().describe('Files read, bad ones included'),
  documents: z.int().nonnegative().describe('Documents made of them'),
  tokens: z.int().nonnegative(),
  heldOutDocuments: z.int().nonnegative().describe('Set aside by document hash before anything else'),
  badFiles: z
    .array(z.strictObject({ path: z.string(), problem: z.string() }))
    .describe('Named and counted; the stage fails above the recipe’s maxBadShare'),
});

/** A dataset. Rows lie in the order of consumption: row i is sample i. */
export const datasetManifestSchema = z.strictObject({
  schema: z.literal('longhaul.dataset/1'),
  name: z.string().min(1),
  sequenceLengthTokens: z.int().positive().describe('Every row has exactly this many tokens'),
  rows: z.int().positive(),
  tokens: z.int().positive(),
  hasMask: z.boolean().describe('Rows carry a mask column (chats)'),
  tokenizerDigest: digestSchema.describe("SHA-256 of tokenizer.json's bytes"),
  vocabularySize: z.int().positive(),
  seed: z.int().nonnegative(),
  domains: z.array(
    z.strictObject({
      name: z.string().min(1).describe('Domain, with its document length where a mix has several: code@4096'),
      rows: z.int().nonnegative(),
      documents: z.int().nonnegative(),
      passes: z
        .number()
        .nonnegative()
        .describe('Times the domain’s text was gone through; above 1: repeated'),
      untrainedDocuments: z
        .int()
        .nonnegative()
        .describe(
          'Dialogues left out because their first answer begins beyond a row’s length: a row of one would have no loss',
        ),
    }),
  ),
  sources: z.array(sourceCountSchema),
  shards: z.array(shardSchema).min(1),
});
export type DatasetManifest = z.infer<typeof datasetManifestSchema>;
