/** Digests of what lies below a run's prefix, taken while it is known to be right: the ledger keeps them. */
import type { CommitId, Digest, Epoch } from '../contracts/index.js';
import { commitIdSchema } from '../contracts/index.js';
import type { AttemptLeft, ObjectTree } from '../domain/ledger/records.js';
import { sha256, treeDigest } from './digest.js';
import { NAMES, pathBelow, runLayout, runObjectOf, stageLayout } from '../contracts/layout.js';
import type { RunObject } from '../contracts/layout.js';
import type { ObjectStore } from './object-store.js';
import { mapConcurrently } from './transfer.js';

/** Small objects in flight at once. */
const PARALLEL = 16;

/**
 * One digest of everything below a prefix.
 * @param known digests of objects that were read before, by URL
 */
export async function digestTree(
  store: ObjectStore,
  prefixUrl: string,
  known: ReadonlyMap<string, Digest> = new Map(),
): Promise<ObjectTree> {
  const urls: string[] = [];
  for await (const { url } of store.list(prefixUrl)) urls.push(url);
  const files = await mapConcurrently(urls, PARALLEL, async (url) => {
    const digest = known.get(url) ?? sha256((await store.get(url)).data);
    return [pathBelow(prefixUrl, url), digest] as const;
  });
  return { objects: files.length, digest: treeDigest(files) };
}

/** What to look at of an ended attempt. */
export interface LeftBy {
  readonly stageUrl: string;
  readonly epoch: Epoch;
  /** Whether it has finished an evaluation, whose records are complete now. */
  readonly evaluated: boolean;
  /** Digests of event files that were read before, by URL. */
  readonly events?: ReadonlyMap<string, Digest>;
}

/** What an attempt whose job is gone has left, and what is there of its stage's checkpoints. */
export async function attemptLeft(
  store: ObjectStore,
  { stageUrl, epoch, evaluated, events }: LeftBy,
): Promise<AttemptLeft> {
  const urls = stageLayout(stageUrl);
  const [outcome, log, tree, checkpoints] = await Promise.all([
    digestAt(store, urls.outcome(epoch)),
    digestAt(store, urls.log(epoch)),
    digestTree(store, urls.events(epoch), events),
    checkpointsAt(store, urls.checkpoints),
  ]);
  const records = evaluated ? { records: await digestTree(store, urls.recordsRoot) } : {};
  return { outcome, log, events: tree, ...records, ...checkpoints };
}

async function digestAt(store: ObjectStore, url: string): Promise<Digest | null> {
  const found = await store.find(url);
  return found === null ? null : sha256(found.data);
}

/** The checkpoints with a manifest, and those of them with a mark. */
async function checkpointsAt(
  store: ObjectStore,
  prefixUrl: string,
): Promise<Pick<AttemptLeft, 'checkpoints' | 'quarantined'>> {
  const there: CommitId[] = [];
  const marked: CommitId[] = [];
  for await (const { url } of store.list(prefixUrl)) {
    const [name, file, ...more] = pathBelow(prefixUrl, url).split('/');
    const id = commitIdSchema.safeParse(name);
    if (!id.success || more.length > 0) continue;
    if (file === NAMES.manifest) there.push(id.data);
    if (file === NAMES.quarantine) marked.push(id.data);
  }
  return { checkpoints: there, quarantined: marked };
}

/** Objects of a run that nobody changes once it has begun. */
export async function openedObjects(store: ObjectStore, runUrl: string): Promise<Record<string, Digest>> {
  const { recipe, owner } = runLayout(runUrl);
  return digestsOf(store, runUrl, [recipe, owner]);
}

/** Kinds of objects that a stage's end seals, of those below the stage's prefix: what no other record has the digest of. */
export const SEALED: ReadonlySet<RunObject | null> = new Set<RunObject>([
  'spec',
  'head',
  'lease',
  'config',
  'bump',
  'result',
  'results',
  'quarantine',
  'pin',
  'export-manifest',
]);

/** The objects of a stage that rests, by digest; with the report, where that is what the stage has made. */
export async function sealedObjects(
  store: ObjectStore,
  runUrl: string,
  folder: string,
  { withReport }: { readonly withReport: boolean },
): Promise<Record<string, Digest>> {
  const layout = runLayout(runUrl);
  const urls = await sealedUrls(store, runUrl, layout.stage(folder));
  return digestsOf(store, runUrl, withReport ? [...urls, layout.report, layout.reportData] : urls);
}

/** URLs of the objects that the end of a stage seals. */
export async function sealedUrls(store: ObjectStore, runUrl: string, stageUrl: string): Promise<string[]> {
  const urls = await store.files(stageUrl);
  const { checkpoints, exports } = stageLayout(stageUrl);
  for (const prefix of [checkpoints, exports]) {
    for await (const { url } of store.list(prefix)) urls.push(url);
  }
  return urls.filter((url) => SEALED.has(runObjectOf(pathBelow(runUrl, url))));
}

async function digestsOf(
  store: ObjectStore,
  runUrl: string,
  urls: readonly string[],
): Promise<Record<string, Digest>> {
  const digests = await mapConcurrently(urls, PARALLEL, async (url) => {
    const digest = await digestAt(store, url);
    return digest === null ? [] : [[pathBelow(runUrl, url), digest] as const];
  });
  return Object.fromEntries(digests.flat());
}
