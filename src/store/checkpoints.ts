/** Checkpoints as the control plane sees them: their line, how far each verifies, quarantine, pins. */
import { checkpointManifestSchema, epochSchema, pinSchema, quarantineSchema } from '../contracts/index.js';
import type {
  CheckpointManifest,
  CheckpointRef,
  CommitId,
  Epoch,
  HeadCommit,
  Pin,
  Quarantine,
} from '../contracts/index.js';
import { coverageProblem, rootDigest, sha256 } from './digest.js';
import { StoreError, isStoreError } from './errors.js';
import { commitsOf, readHead } from './head.js';
import { stageLayout } from '../contracts/layout.js';
import { encodeJson, parseJson } from './object-store.js';
import type { ObjectStore } from './object-store.js';
import { downloadFiles, verifyBytes, verifyStored } from './transfer.js';

/**
 * How thoroughly a checkpoint is verified.
 * - `stored`: sizes and checksums as the store reports them
 * - `loaded`: every part verified while it was loaded for use (`loadCheckpoint`, or a trainer that resumed)
 * - `audited`: every byte read again and re-hashed, by somebody who needs only the proof
 */
export type VerificationLevel = 'stored' | 'loaded' | 'audited';

/** What came of verifying a checkpoint. No problems: it verifies at that level. */
export interface Verification {
  readonly commit: CommitId;
  readonly level: VerificationLevel;
  readonly problems: readonly string[];
}

/** A commit of a stage's line. */
export interface LineEntry {
  readonly commit: HeadCommit;
  readonly quarantine: Quarantine | null;
}

/** Reference to a commit of a stage. */
export function checkpointRef(stageUrl: string, commit: HeadCommit): CheckpointRef {
  return { stageUrl, commit: commit.id, manifestDigest: commit.manifestDigest };
}

/**
 * A checkpoint's manifest, by the digest that names it, and consistent in itself; read twice before it counts as wrong.
 * @throws StoreError `not-found`, `invalid-object`.
 */
export async function readManifest(store: ObjectStore, ref: CheckpointRef): Promise<CheckpointManifest> {
  const url = stageLayout(ref.stageUrl).manifest(ref.commit);
  const data = await store.getVerified(url, ref.manifestDigest);
  const manifest = parseJson(url, data, checkpointManifestSchema);
  const problem = coverageProblem(manifest.files);
  if (problem !== null) throw new StoreError('invalid-object', url, problem);
  if (rootDigest(manifest.files) !== manifest.rootDigest) {
    throw new StoreError('invalid-object', url, 'rootDigest does not match the parts');
  }
  return manifest;
}

/** The commits of a stage, newest first, as `HEAD` names them, with their marks. */
export async function readLine(store: ObjectStore, stageUrl: string): Promise<LineEntry[]> {
  const { value: head } = await readHead(store, stageUrl);
  const entries: LineEntry[] = [];
  for (const commit of commitsOf(head)) {
    entries.push({ commit, quarantine: await readQuarantine(store, stageUrl, commit.id) });
  }
  return entries;
}

/** A checkpoint's quarantine mark, null when it has none. */
export async function readQuarantine(
  store: ObjectStore,
  stageUrl: string,
  commit: CommitId,
): Promise<Quarantine | null> {
  const found = await store.findJson(stageLayout(stageUrl).quarantine(commit), quarantineSchema);
  return found?.value ?? null;
}

/** Verifies a checkpoint without keeping its files. Problems are the checkpoint's; the store's own trouble is thrown. */
export async function verifyCheckpoint(
  store: ObjectStore,
  ref: CheckpointRef,
  level: Exclude<VerificationLevel, 'loaded'>,
): Promise<Verification> {
  const verify = level === 'stored' ? verifyStored : verifyBytes;
  return verification(store, ref, level, (manifest, prefix) => verify(store, prefix, manifest.files));
}

/** Loads a checkpoint's files into a folder, verifying every part on the way. */
export async function loadCheckpoint(
  store: ObjectStore,
  ref: CheckpointRef,
  folder: string,
): Promise<Verification> {
  return verification(store, ref, 'loaded', (manifest, prefix) =>
    downloadFiles(store, prefix, manifest.files, folder),
  );
}

async function verification(
  store: ObjectStore,
  ref: CheckpointRef,
  level: VerificationLevel,
  verify: (manifest: CheckpointManifest, prefixUrl: string) => Promise<string[]>,
): Promise<Verification> {
  try {
    const manifest = await readManifest(store, ref);
    const problems = await verify(manifest, stageLayout(ref.stageUrl).checkpoint(ref.commit));
    return { commit: ref.commit, level, problems };
  } catch (error) {
    if (!isStoreError(error, 'not-found', 'invalid-object')) throw error;
    return { commit: ref.commit, level, problems: [error.message] };
  }
}

/** The newest commit that verifies, and what was passed over on the way. */
export interface NewestVerified {
  readonly commit: HeadCommit | null;
  readonly passedOver: readonly Verification[];
}

/**
 * Follows the line from `HEAD` to the newest commit that verifies. What does not is quarantined, if `quarantineAs` gives
 * the epoch that found it.
 * @returns commit null only where nothing was ever committed.
 * @throws StoreError `invalid-object` when there are commits but none verifies.
 */
export async function newestVerified(
  store: ObjectStore,
  stageUrl: string,
  level: Exclude<VerificationLevel, 'loaded'>,
  quarantineAs?: Epoch,
): Promise<NewestVerified> {
  const line = await readLine(store, stageUrl);
  const passedOver: Verification[] = [];
  for (const { commit, quarantine } of line) {
    const found =
      quarantine === null
        ? await verifyCheckpoint(store, checkpointRef(stageUrl, commit), level)
        : { commit: commit.id, level, problems: ['quarantined', ...quarantine.problems] };
    if (found.problems.length === 0) return { commit, passedOver };
    passedOver.push(found);
    if (quarantineAs !== undefined && quarantine === null && (await isNamed(store, stageUrl, commit.id))) {
      await quarantineCheckpoint(store, stageUrl, found, quarantineAs);
    }
  }
  if (line.length === 0) return { commit: null, passedOver };
  const tried = line.map(({ commit }) => commit.id).join(', ');
  throw new StoreError('invalid-object', stageUrl, `no checkpoint verifies; tried ${tried}`);
}

/** Whether `HEAD` still names a commit. One that it has left behind may have been deleted: that is no corruption. */
async function isNamed(store: ObjectStore, stageUrl: string, id: CommitId): Promise<boolean> {
  const { value: head } = await readHead(store, stageUrl);
  return commitsOf(head).some((commit) => commit.id === id);
}

/** Marks a checkpoint as corrupt. It is not moved; a mark that is there already stays. */
export async function quarantineCheckpoint(
  store: ObjectStore,
  stageUrl: string,
  found: Verification,
  epoch: Epoch,
): Promise<void> {
  const mark = quarantineSchema.parse({
    schema: 'longhaul.quarantine/1',
    id: found.commit,
    epoch: epochSchema.parse(epoch),
    problems: [...found.problems],
    foundAt: new Date().toISOString(),
  });
  await createOnce(store, stageLayout(stageUrl).quarantine(found.commit), mark);
}

/**
 * Keeps a checkpoint from retention while something refers to it. Pinning again under the same name is harmless.
 * @throws StoreError `not-found` when the checkpoint is not there (any more).
 */
export async function pinCheckpoint(
  store: ObjectStore,
  ref: CheckpointRef,
  pin: { readonly name: string; readonly reason: string },
): Promise<void> {
  const layout = stageLayout(ref.stageUrl);
  const value: Pin = pinSchema.parse({
    schema: 'longhaul.pin/1',
    id: ref.commit,
    ...pin,
    pinnedAt: new Date().toISOString(),
  });
  await createOnce(store, layout.pin(ref.commit, pin.name), value);
  try {
    // A trainer's retention may have been deleting it meanwhile: it removes the manifest first.
    await store.head(layout.manifest(ref.commit));
  } catch (error) {
    if (isStoreError(error, 'not-found')) await store.delete([layout.pin(ref.commit, pin.name)]);
    throw error;
  }
}

async function createOnce(store: ObjectStore, url: string, value: unknown): Promise<void> {
  try {
    await store.create(url, encodeJson(value));
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
  }
}

/** Digest of a manifest's bytes, as `HEAD` names it. */
export function manifestDigest(manifest: CheckpointManifest): HeadCommit['manifestDigest'] {
  return sha256(encodeJson(manifest));
}
