/**
 * The ledger: what happened to a run, in order, as hash-chained create-only objects. One chain per workflow, each object one
 * record under its number, `000001.json`. Shapes and checks only; `src/store/ledger.ts` reads and writes them.
 */
import { z } from 'zod';
import { DIGEST } from '../lib/digest.js';
import { FAILURE_CLASSES } from '../attempt/failure-class.js';
import { COMMIT_ID } from '../run/names.js';
import { OPERATOR_ACTION_NAMES } from '../run/operator-actions.js';
import { STAGE_KINDS, ledgerTipSchema } from '../run/status.js';
import { instantSchema, secondsByLabelSchema } from '../lib/time.js';

const text = z.string().min(1);
const digest = z
  .string()
  .regex(DIGEST, 'expected sha256:<64 hex digits>')
  .describe('SHA-256, sha256:<64 lower-case hex digits>');
const commitId = z.string().regex(COMMIT_ID, 'expected <step>-<epoch>-<nonce>');
const folder = text.describe('Stage folder, <nn-name>');
const epoch = z.int().positive().describe('Epoch of the attempt');

/** Seconds of an attempt by what they went into: as its job counts them, and what was seen from outside. */
export const attemptSecondsSchema = secondsByLabelSchema.extend({
  queued: z.number().nonnegative().describe('Claimed, its job not started yet: no device is held'),
  hung: z.number().nonnegative().describe('Without progress before the watchdog stopped it'),
  stopping: z.number().nonnegative().describe('From being told to stop to its end'),
});
export type AttemptSeconds = z.infer<typeof attemptSecondsSchema>;

/** Something a stage made, by content. */
export const artifactSchema = z.strictObject({
  kind: z.enum(['dataset', 'checkpoint', 'model', 'results', 'config', 'report']),
  url: text.describe('s3:// URL: of a model or checkpoint its prefix, of anything else the object'),
  digest: digest.describe("SHA-256 of the object's bytes; of a prefix, of its manifest.json's"),
});
export type Artifact = z.infer<typeof artifactSchema>;

const specSchema = z
  .strictObject({
    revision: z.int().nonnegative().describe("How often a retry had changed the stage's settings"),
    digest,
  })
  .optional()
  .describe("The spec the stage works by, by the SHA-256 of its object's bytes; older records have none");

const objectsSchema = z
  .record(text, digest)
  .optional()
  .describe("SHA-256 of objects' bytes, by their path below the run's prefix; older records have none");

/** Many objects by one digest. */
export const objectTreeSchema = z.strictObject({
  objects: z.int().nonnegative().describe('How many there are'),
  digest: digest.describe('SHA-256 over the lines "<path> <sha256>\\n", sorted by path'),
});
export type ObjectTree = z.infer<typeof objectTreeSchema>;

/** What an attempt left in the store, as it was when its end was recorded. */
export const attemptLeftSchema = z.strictObject({
  outcome: digest.nullable().describe("SHA-256 of outcome.json's bytes; null: there is none"),
  log: digest.nullable().describe("SHA-256 of log.txt's bytes; null: there is none"),
  events: objectTreeSchema.describe('Its event files, by their names'),
  records: objectTreeSchema
    .optional()
    .describe("Of a finished evaluation: the stage's records, by their paths below records/"),
  checkpoints: z.array(commitId).describe("The stage's checkpoints that are there: retention has left these"),
  quarantined: z.array(commitId).describe('Those of them that are marked as corrupt'),
});
export type AttemptLeft = z.infer<typeof attemptLeftSchema>;

/** How a stage ended, or stopped for the time being. */
export const STAGE_RESULTS = [
  'done',
  'adopted',
  'parked',
  'skipped',
  'paused',
  'cancelled',
  'failed',
] as const;
export type StageResult = (typeof STAGE_RESULTS)[number];

/** One thing that happened. `run-…`, `stage-started`, `stage-ended` and `action` stand in the run's chain, the others in a stage's. */
export const ledgerEntrySchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z
      .literal('run-opened')
      .describe('A workflow began: at the start, after a reset, or in a second run of the name'),
    run: text,
    recipeDigest: digest,
    namespace: text,
    workflowId: text,
    runId: text,
    objects: objectsSchema,
  }),
  z.strictObject({
    type: z
      .literal('run-reset')
      .describe('A reset of the Temporal workflow: another workflow run goes on from an earlier point'),
    runId: text.describe('Workflow run that goes on'),
    remembers: z
      .int()
      .nonnegative()
      .describe(
        'Newest record of this chain as of that point; what stands between it and this one it knows nothing of',
      ),
    why: z.string().describe('Reason given for the reset'),
  }),
  z.strictObject({ type: z.literal('stage-started'), folder, kind: z.enum(STAGE_KINDS), title: text }),
  z.strictObject({
    type: z.literal('stage-ended'),
    folder,
    result: z.enum(STAGE_RESULTS),
    why: z.string(),
    chain: ledgerTipSchema.nullable().describe("Seal of the stage's own chain; null: it has none"),
    artifacts: z.array(artifactSchema),
    objects: objectsSchema,
  }),
  z.strictObject({
    type: z.literal('action'),
    action: z.enum(OPERATOR_ACTION_NAMES),
    actor: text,
    actorKind: z.enum(['asserted', 'authenticated']).describe('Whether somebody vouches for the name'),
    reason: text,
    detail: z.record(z.string(), z.unknown()).describe('What else the operator said'),
    updateId: text
      .optional()
      .describe('Id of the Temporal update that asked for it; older records have none'),
    repeats: z
      .int()
      .positive()
      .optional()
      .describe(
        'Record of the same update: Temporal applied it again after a reset, and it was not done again. Absent: it was done now',
      ),
  }),
  z.strictObject({ type: z.literal('run-ended'), state: text, why: z.string() }),
  z.strictObject({
    type: z.literal('attempt-opened'),
    epoch,
    job: text.describe("The job's name at the backend"),
    from: commitId.nullable().describe('Checkpoint it begins at; null: the start'),
    previousOwner: z.string().describe('Token of the claim before; empty: none'),
    why: z.string(),
    spec: specSchema,
    fromDigest: digest
      .optional()
      .describe(
        'SHA-256 of the manifest of the checkpoint it begins at; at the start, and in older records, none',
      ),
    attemptDigest: digest.optional().describe("SHA-256 of attempt.json's bytes; older records have none"),
  }),
  z.strictObject({
    type: z.literal('attempt-ended'),
    epoch,
    class: z.enum([...FAILURE_CLASSES, 'done']),
    message: z.string(),
    signature: z.string().describe('Equal signatures are the same failure again'),
    step: z.int().nonnegative().describe('Last optimizer step done; of an evaluation, samples done'),
    tokens: z.int().nonnegative(),
    seconds: attemptSecondsSchema,
    wallSeconds: z.number().nonnegative().describe("From the claim to the job's end; `queued` is part of it"),
    commits: z.array(
      z.strictObject({
        id: commitId,
        step: z.int().nonnegative(),
        manifestDigest: digest
          .optional()
          .describe("SHA-256 of its manifest's bytes; older records have none"),
      }),
    ),
    left: attemptLeftSchema
      .optional()
      .describe('Older records, and ends that the store kept from looking, have none'),
    node: z.string().nullable().describe("Where it ran; null: the backend doesn't say"),
    note: z.string(),
  }),
  z.strictObject({ type: z.literal('stage-adopted'), why: z.string(), digest, spec: specSchema }),
]);
export type LedgerEntry = z.infer<typeof ledgerEntrySchema>;
/** An entry of one type. */
export type EntryOf<T extends LedgerEntry['type']> = Extract<LedgerEntry, { type: T }>;

/** `ledger/<6 digits>.json`, create-only. */
export const ledgerRecordSchema = z.strictObject({
  schema: z.literal('longhaul.ledger/1'),
  index: z.int().positive().describe('Number of the record, from 1; also its name'),
  id: text.describe('Owner token, "#", and what: an append that is repeated has the same'),
  previous: digest.nullable().describe('SHA-256 of the object before this one; null: this is the first'),
  at: instantSchema,
  entry: ledgerEntrySchema,
});
export type LedgerRecord = z.infer<typeof ledgerRecordSchema>;

/**
 * Workflow run that wrote a record, by the owner token in its id, `<namespace>/<workflow id>/<run id>[/<attempt>]`; null: none is
 * named.
 */
export function runIdOf(recordId: string): string | null {
  const parts = recordId.split('#')[0]?.split('/') ?? [];
  return (parts.length > 3 ? parts.at(-2) : parts[2]) ?? null;
}
