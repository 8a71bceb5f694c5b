/** Building blocks shared by every contract: digests, URLs, references to datasets, models and checkpoints. */
import { z } from 'zod';
import { DIGEST } from '../domain/lib/digest.js';
import { COMMIT_ID } from '../domain/run/names.js';

export { instantSchema } from '../domain/lib/time.js';

/** A SHA-256 digest in the form `sha256:<64 lower-case hex digits>`. */
export const digestSchema = z
  .string()
  .regex(DIGEST, 'expected sha256:<64 hex digits>')
  .brand('Digest')
  .describe('A SHA-256 digest, sha256:<64 lower-case hex digits>');
export type Digest = z.infer<typeof digestSchema>;

/** An object or prefix in the object store, `s3://bucket/key`, without a trailing slash. */
export const objectUrlSchema = z
  .string()
  .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]+\/.*[^/]$/, 'expected s3://bucket/key without a trailing slash')
  .describe('s3://bucket/key, no trailing slash');

/** Attempt number of a stage; allocated by the conditional write that claims `HEAD`. The empty `HEAD` has epoch 0. */
export const epochSchema = z
  .int()
  .nonnegative()
  .brand('Epoch')
  .describe('Epoch of an attempt; 0 is "never claimed"');
export type Epoch = z.infer<typeof epochSchema>;

/** Name of a checkpoint, `<step>-<epoch>-<nonce>`, which is also the name of its prefix below `checkpoints/`. */
export const commitIdSchema = z
  .string()
  .regex(COMMIT_ID, 'expected <step, 8 digits>-<epoch, 4 digits>-<nonce, 8 hex digits>')
  .brand('CommitId')
  .describe('<step>-<epoch>-<nonce>');
export type CommitId = z.infer<typeof commitIdSchema>;

/** A curated dataset: its manifest and that manifest's digest (SHA-256 of the object's bytes). */
export const datasetRefSchema = z.strictObject({
  manifestUrl: objectUrlSchema.describe('The dataset manifest object'),
  digest: digestSchema.describe("SHA-256 of the manifest object's bytes"),
});
export type DatasetRef = z.infer<typeof datasetRefSchema>;

/** A Hugging Face model folder (`config.json`, safetensors, tokenizer files) with a `manifest.json` beside them. */
export const modelRefSchema = z.strictObject({
  url: objectUrlSchema.describe('Prefix that holds the model files and manifest.json'),
  digest: digestSchema.describe("SHA-256 of the bytes of the folder's manifest.json"),
});
export type ModelRef = z.infer<typeof modelRefSchema>;

/** One committed checkpoint of a training stage. */
export const checkpointRefSchema = z.strictObject({
  stageUrl: objectUrlSchema.describe('Prefix of the stage the checkpoint belongs to'),
  commit: commitIdSchema,
  manifestDigest: digestSchema.describe("SHA-256 of the checkpoint manifest's bytes"),
});
export type CheckpointRef = z.infer<typeof checkpointRefSchema>;

/** One contiguous part of a file. Parts are 64 MiB each but for the last. */
export const partSchema = z.strictObject({
  offset: z.int().nonnegative().describe('First byte of the part within the file'),
  bytes: z.int().nonnegative().describe('Length of the part in bytes'),
  sha256: digestSchema,
});

/** A path below a prefix: parts between slashes, none of them empty, "." or "..". */
const FILE_NAME =
  /^(?:(?:[^./\\\p{Cc}]|\.[^./\\\p{Cc}]|\.\.[^/\\\p{Cc}])[^/\\\p{Cc}]*)(?:\/(?:[^./\\\p{Cc}]|\.[^./\\\p{Cc}]|\.\.[^/\\\p{Cc}])[^/\\\p{Cc}]*)*$/u;

/** A stored file: its name below the manifest's prefix, its size and the digests of its parts. */
export const storedFileSchema = z.strictObject({
  path: z
    .string()
    .regex(FILE_NAME, 'expected a path below the prefix, without "." and ".." in it')
    .describe("Name relative to the manifest's prefix"),
  bytes: z.int().nonnegative(),
  parts: z.array(partSchema).min(1).describe('In order of offset, covering the file'),
});
export type StoredFile = z.infer<typeof storedFileSchema>;

/** Part size for hashing and transfer, bytes. */
export const PART_BYTES = 64 * 1024 * 1024;

/** `manifest.json` of a model folder. */
export const modelManifestSchema = z.strictObject({
  schema: z.literal('longhaul.model/1'),
  files: z
    .array(storedFileSchema)
    .min(1)
    .describe('Every file of the folder but this manifest, sorted by path'),
  origin: z.string().describe('What made it: "base", or stage URL and commit'),
});
export type ModelManifest = z.infer<typeof modelManifestSchema>;
