/** `result.json` of a stage: the outcome that a finished stage is adopted by, in later runs of the same spec. */
import { outcomeSchema } from '../src/contracts/index.js';
import { isStoreError } from '../src/store/errors.js';
import type { ObjectStore } from '../src/store/object-store.js';
import type { FinishedOutcome } from './attempt-types.js';

/** Where a stage's result lies. */
export function resultUrl(stageUrl: string): string {
  return `${stageUrl}/result.json`;
}

/** The verified result of a stage, or null: none yet, or what it names is no longer what it says. */
export async function findResult(store: ObjectStore, stageUrl: string): Promise<FinishedOutcome | null> {
  const found = await store.findJson(resultUrl(stageUrl), outcomeSchema);
  if (found === null || found.value.result === 'ended') return null;
  return (await isStored(store, stageUrl, found.value)) ? found.value : null;
}

async function isStored(store: ObjectStore, stageUrl: string, outcome: FinishedOutcome): Promise<boolean> {
  const [url, digest] =
    outcome.result === 'trained'
      ? [`${outcome.model.url}/manifest.json`, outcome.model.digest]
      : [`${stageUrl}/results.json`, outcome.resultsDigest];
  try {
    await store.getVerified(url, digest);
    return true;
  } catch (error) {
    if (isStoreError(error, 'not-found', 'invalid-object')) return false;
    throw error;
  }
}

/** Keeps a stage's result. One that was made anew on purpose replaces the one before. */
export async function saveResult(
  store: ObjectStore,
  stageUrl: string,
  outcome: FinishedOutcome,
): Promise<void> {
  await store.putJson(resultUrl(stageUrl), outcomeSchema, outcome);
}
