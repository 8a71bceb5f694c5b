/** `HEAD` and checkpoint manifests: the commit protocol's objects. */
import { z } from 'zod';
import {
  commitIdSchema,
  digestSchema,
  epochSchema,
  instantSchema,
  objectUrlSchema,
  storedFileSchema,
} from './common.js';

/** What decides whether two attempts can be bit-identical. Compared field by field; free-form values. */
export const fingerprintSchema = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
  .describe('Numerics fingerprint: library versions, device or CPU features, threads, world size, kernels');

/** What a committed `HEAD` points at. */
export const headCommitSchema = z.strictObject({
  id: commitIdSchema,
  step: z.int().nonnegative(),
  tokens: z.int().nonnegative(),
  manifestDigest: digestSchema.describe("SHA-256 of checkpoints/<id>/manifest.json's bytes"),
});
export type HeadCommit = z.infer<typeof headCommitSchema>;

/** Most earlier commits that `HEAD` names. */
export const HEAD_ANCESTORS = 64;

/**
 * `HEAD` of a stage. Created empty (`If-None-Match: *`) when the stage starts, moved only by conditional PUT
 * (`If-Match`). A missing `HEAD` after that is an error, never "step zero".
 */
export const headSchema = z.strictObject({
  schema: z.literal('longhaul.head/1'),
  epoch: epochSchema,
  owner: z
    .string()
    .describe('Token of the claim that made this epoch; a repeated claim by it gets the same epoch'),
  nonce: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .describe('Fresh for every write: tells "my write landed" after a lost answer'),
  commit: headCommitSchema.nullable().describe('null: nothing committed yet'),
  ancestors: z
    .array(headCommitSchema)
    .max(HEAD_ANCESTORS)
    .describe(
      "The commit's parents that retention keeps, newest first: a walk back needs no readable manifest of what it leaves",
    ),
  updatedAt: instantSchema,
});
export type Head = z.infer<typeof headSchema>;

/** `checkpoints/<id>/manifest.json`, written after every file it names. */
export const checkpointManifestSchema = z.strictObject({
  schema: z.literal('longhaul.checkpoint/1'),
  id: commitIdSchema,
  epoch: epochSchema,
  parent: commitIdSchema
    .nullable()
    .describe(
      'The commit this one continues: what its attempt resumed from, or committed before; null: none',
    ),
  step: z.int().nonnegative(),
  tokens: z.int().nonnegative().describe('Tokens consumed by this stage'),
  dataPosition: z.strictObject({
    datasetDigest: digestSchema,
    nextSample: z.int().nonnegative().describe('Index of the next row to consume'),
  }),
  recipeDigest: digestSchema,
  topology: z.strictObject({ worldSize: z.int().positive(), ranksPerNode: z.int().positive() }),
  fingerprint: fingerprintSchema,
  files: z.array(storedFileSchema).min(1).describe('Sorted by path'),
  rootDigest: digestSchema.describe('SHA-256 over the lines "<path> <part sha256>\\n" of all files in order'),
  weightsDigest: digestSchema.describe(
    'SHA-256 over name, shape and bytes of every parameter, sorted by name: compares runs',
  ),
  createdAt: instantSchema,
});
export type CheckpointManifest = z.infer<typeof checkpointManifestSchema>;

/** `checkpoints/<id>/quarantine.json`: set beside a checkpoint found corrupt; it is marked, not moved. */
export const quarantineSchema = z.strictObject({
  schema: z.literal('longhaul.quarantine/1'),
  id: commitIdSchema,
  epoch: epochSchema.describe('The attempt that found it'),
  problems: z.array(z.string()).min(1),
  foundAt: instantSchema,
});
export type Quarantine = z.infer<typeof quarantineSchema>;

/** `checkpoints/<id>/pins/<name>.json`: keeps a checkpoint from retention while something refers to it. */
export const pinSchema = z.strictObject({
  schema: z.literal('longhaul.pin/1'),
  id: commitIdSchema,
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]*$/)
    .describe('Who needs it: result (its own finished stage), adopted-by-<digest of a run’s name>'),
  reason: z.string().min(1),
  pinnedAt: instantSchema,
});
export type Pin = z.infer<typeof pinSchema>;

/** `owner.json` of a run prefix, create-only: which Temporal namespace and recipe own it. */
export const runOwnerSchema = z.strictObject({
  schema: z.literal('longhaul.run-owner/1'),
  namespace: z.string().min(1),
  workflowId: z.string().min(1),
  recipeDigest: digestSchema,
  runUrl: objectUrlSchema,
  createdAt: instantSchema,
});
export type RunOwner = z.infer<typeof runOwnerSchema>;

/**
 * `lease.json` of a stage, renewed by the control plane. A trainer stops that has *read* the same one again and again for
 * `seconds` of its own time: no clock of one machine is compared with another's.
 */
export const leaseSchema = z.strictObject({
  schema: z.literal('longhaul.lease/2'),
  epoch: epochSchema,
  renewal: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .describe('Fresh with every renewal'),
  seconds: z
    .number()
    .nonnegative()
    .max(604_800)
    .describe('How long it holds without being renewed; up to 7 days'),
  renewedAt: instantSchema.describe('By the clock of who renewed it; for people'),
});
export type Lease = z.infer<typeof leaseSchema>;
