/** `owner.json` of a run's prefix: create-only, so that two runs never write into one another. */
import { runOwnerSchema } from '../contracts/index.js';
import type { RunOwner } from '../contracts/index.js';
import { isStoreError } from './errors.js';
import { runLayout } from '../contracts/layout.js';
import { encodeJson } from './object-store.js';
import type { ObjectStore } from './object-store.js';

/** Who wants to own a run's prefix. */
export interface OwnRunInput extends Omit<RunOwner, 'schema' | 'createdAt'> {
  /** Take the prefix over from another namespace, workflow or recipe. An operator asks for this, nothing else does. */
  readonly takeover?: boolean | undefined;
}

/** The run's prefix belongs to another namespace, workflow or recipe. */
export class RunOwnedByOtherError extends Error {
  override readonly name = 'RunOwnedByOtherError';

  constructor(
    readonly owner: RunOwner,
    differences: readonly string[],
  ) {
    super(`${owner.runUrl} belongs to another run: ${differences.join('; ')}`);
  }
}

/** What became of the wish. `taken-over` comes with the owner before. */
export type OwnedRun =
  { readonly state: 'created' | 'owned' } | { readonly state: 'taken-over'; readonly from: RunOwner };

/** Makes a run's prefix one's own, or finds that it is. @throws RunOwnedByOtherError naming what differs. */
export async function ownRun(store: ObjectStore, input: OwnRunInput): Promise<OwnedRun> {
  const { takeover = false, ...identity } = input;
  const url = runLayout(input.runUrl).owner;
  const wanted = runOwnerSchema.parse({
    schema: 'longhaul.run-owner/1',
    ...identity,
    createdAt: new Date().toISOString(),
  });
  const found = await store.findJson(url, runOwnerSchema);
  if (found === null) {
    try {
      await store.create(url, encodeJson(wanted));
      return { state: 'created' };
    } catch (error) {
      if (!isStoreError(error, 'precondition-failed')) throw error;
      return ownRun(store, input); // somebody was faster
    }
  }
  const differences = differencesBetween(found.value, wanted);
  if (differences.length === 0) return { state: 'owned' };
  if (!takeover) throw new RunOwnedByOtherError(found.value, differences);
  await store.replace(url, encodeJson(wanted), found.etag);
  return { state: 'taken-over', from: found.value };
}

function differencesBetween(owner: RunOwner, wanted: RunOwner): string[] {
  const fields = {
    namespace: 'Temporal namespace',
    workflowId: 'workflow',
    recipeDigest: 'recipe',
    runUrl: 'prefix',
  } as const;
  return (['namespace', 'workflowId', 'recipeDigest', 'runUrl'] as const)
    .filter((field) => owner[field] !== wanted[field])
    .map((field) => `its ${fields[field]} is ${owner[field]}, not ${wanted[field]}`);
}
