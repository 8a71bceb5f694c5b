/** Which checkpoints stay. What `HEAD` names, every n-th, the pinned and the quarantined stay; the rest is deleted. */
import { commitIdSchema } from '../contracts/index.js';
import type { CommitId } from '../contracts/index.js';
import { checkpointRef, verifyCheckpoint } from './checkpoints.js';
import { StoreError } from './errors.js';
import { commitsOf, readHead } from './head.js';
import { partsOfCommitId, stageLayout } from './layout.js';
import type { ObjectStore } from './object-store.js';

/** What to keep besides what `HEAD` names. */
export interface RetentionPolicy {
  readonly stageUrl: string;
  /** The newest so many commits of `HEAD`'s line. */
  readonly keepLast: number;
  /** Every n-th step; 0: none. */
  readonly keepEvery: number;
}

/**
 * Deletes what nothing needs, and returns the ids. Deletes nothing unless `HEAD`'s commit verifies as stored.
 * @throws StoreError `invalid-object` when it does not.
 */
export async function retainCheckpoints(store: ObjectStore, policy: RetentionPolicy): Promise<CommitId[]> {
  const { stageUrl } = policy;
  const { value: head } = await readHead(store, stageUrl);
  if (head.commit === null) return [];
  const newest = await verifyCheckpoint(store, checkpointRef(stageUrl, head.commit), 'stored');
  if (newest.problems.length > 0) {
    throw new StoreError('invalid-object', stageUrl, `nothing deleted: ${newest.problems.join('; ')}`);
  }
  const named = new Set<CommitId>(
    commitsOf(head)
      .slice(0, policy.keepLast)
      .map(({ id }) => id),
  );
  const deleted: CommitId[] = [];
  for (const name of await store.folders(stageLayout(stageUrl).checkpoints)) {
    const { data: id } = commitIdSchema.safeParse(name);
    if (id === undefined) continue; // no checkpoint of ours
    // An upload of the current epoch may be on its way: it is no commit yet, and not ours to judge.
    if (named.has(id) || partsOfCommitId(id).epoch >= head.epoch) continue;
    if (await deleteUnlessNeeded(store, policy, id)) deleted.push(id);
  }
  return deleted;
}

async function deleteUnlessNeeded(
  store: ObjectStore,
  { stageUrl, keepEvery }: RetentionPolicy,
  id: CommitId,
): Promise<boolean> {
  const layout = stageLayout(stageUrl);
  const urls: string[] = [];
  for await (const { url } of store.list(layout.checkpoint(id))) urls.push(url);
  const manifest = layout.manifest(id);
  const needed =
    urls.includes(layout.quarantine(id)) ||
    urls.some((url) => url.startsWith(`${layout.pins(id)}/`)) ||
    (keepEvery > 0 && urls.includes(manifest) && partsOfCommitId(id).step % keepEvery === 0);
  if (needed) return false;
  // The manifest first: what is left of a deletion cut short is no checkpoint.
  await store.delete([manifest, ...urls.filter((url) => url !== manifest)]);
  return true;
}
