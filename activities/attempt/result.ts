/** Results of finished stages: kept in the stage, found again by it, and shared with other runs by what was computed. */
import { z } from 'zod';
import { digestSchema, outcomeSchema } from '../../src/contracts/index.js';
import type { Digest } from '../../src/contracts/index.js';
import { checkpointRef, pinCheckpoint, verifyCheckpoint } from '../../src/store/checkpoints.js';
import { shortDigest } from '../../src/domain/lib/digest.js';
import { sha256 } from '../../src/store/digest.js';
import { isStoreError } from '../../src/store/errors.js';
import { manifestUrl, rootLayout, stageLayout } from '../../src/contracts/layout.js';
import { encodeJson } from '../../src/store/object-store.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import type { FinishedOutcome } from './types.js';

/** A finished stage's outcome, and the stage that made it: another one's, where it was adopted. */
export interface StageResult {
  readonly outcome: FinishedOutcome;
  /** Prefix of the stage whose checkpoint it is. */
  readonly stageUrl: string;
}

const resultSchema = z.strictObject({
  schema: z.literal('longhaul.stage-result/1'),
  stageUrl: z.string().min(1).describe('Prefix of the stage that made it'),
  outcome: outcomeSchema,
  key: digestSchema.optional().describe('Of a shared result: the whole digest of what was computed'),
});

/** The verified result of a stage, or null: none yet, or what it names is no longer what it says. */
export async function findResult(store: ObjectStore, stageUrl: string): Promise<StageResult | null> {
  return readResult(store, stageLayout(stageUrl).result);
}

/** The verified result that some run has for the same work, or null: none, or one that does not say that it is of this work. */
export async function findSharedResult(
  store: ObjectStore,
  rootUrl: string,
  key: Digest,
): Promise<StageResult | null> {
  return readResult(store, rootLayout(rootUrl).sharedResult(key), key);
}

/** `key`: of a shared result, whose name holds only the beginning of it. */
async function readResult(store: ObjectStore, url: string, key?: Digest): Promise<StageResult | null> {
  const found = await readable(store, url);
  if (found === null || found.outcome.result === 'ended' || found.key !== key) return null;
  const result = { stageUrl: found.stageUrl, outcome: found.outcome };
  return (await isStored(store, result)) ? result : null;
}

/** The object, or null: a broken one is no result, and the work is simply done. */
async function readable(store: ObjectStore, url: string): Promise<z.infer<typeof resultSchema> | null> {
  try {
    return (await store.findJson(url, resultSchema))?.value ?? null;
  } catch (error) {
    if (isStoreError(error, 'invalid-object')) return null;
    throw error;
  }
}

async function isStored(store: ObjectStore, { stageUrl, outcome }: StageResult): Promise<boolean> {
  try {
    if (outcome.result === 'evaluated') {
      await store.getVerified(stageLayout(stageUrl).results, outcome.resultsDigest);
      return true;
    }
    await store.getVerified(manifestUrl(outcome.model.url), outcome.model.digest);
    const ref = checkpointRef(stageUrl, outcome.commit);
    return (await verifyCheckpoint(store, ref, 'stored')).problems.length === 0;
  } catch (error) {
    if (isStoreError(error, 'not-found', 'invalid-object')) return false;
    throw error;
  }
}

/** Keeps a stage's own result. One that was made anew on purpose replaces the one before. */
export async function saveResult(store: ObjectStore, stageUrl: string, result: StageResult): Promise<void> {
  const value = { schema: 'longhaul.stage-result/1', ...result } as const;
  await store.putJson(stageLayout(stageUrl).result, resultSchema, value);
}

/**
 * Lets other runs find a result by what was computed. The first one stays: those after it are the same, but for one of other
 * work under the same short name, which is never adopted.
 */
export async function shareResult(
  store: ObjectStore,
  rootUrl: string,
  key: Digest,
  result: StageResult,
): Promise<void> {
  const value = resultSchema.parse({ schema: 'longhaul.stage-result/1', ...result, key });
  try {
    await store.create(rootLayout(rootUrl).sharedResult(key), encodeJson(value));
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
  }
}

/** Makes another stage's result this one's: its checkpoint is pinned, its scores are copied, nothing is computed. */
export async function adoptResult(
  store: ObjectStore,
  stageUrl: string,
  { outcome, stageUrl: madeAt }: StageResult,
  run: string,
): Promise<void> {
  if (outcome.result === 'trained') {
    // A run's name may hold what a pin's may not, so its digest names the pin.
    const name = `adopted-by-${shortDigest(sha256(run))}`;
    const pin = { name, reason: `the result of a stage of run ${run}` };
    await pinCheckpoint(store, checkpointRef(madeAt, outcome.commit), pin);
  } else {
    const { data } = await store.get(stageLayout(madeAt).results);
    await store.put(stageLayout(stageUrl).results, data);
  }
  await saveResult(store, stageUrl, { outcome, stageUrl: madeAt });
}
