/** Re-hashes what a run has made and what it was made of, against the digests that the ledger names. */
import {
  checkpointRefSchema,
  datasetManifestSchema,
  datasetRefSchema,
  digestSchema,
  modelRefSchema,
} from '../contracts/index.js';
import type { CheckpointRef, DatasetManifest } from '../contracts/index.js';
import type { Artifact } from '../domain/ledger/records.js';
import { formatBytes } from '../domain/recipe/quantities.js';
import { readManifest, verifyCheckpoint } from '../store/checkpoints.js';
import { sha256, toBase64 } from '../store/digest.js';
import { isStoreError } from '../store/errors.js';
import { commitsOf, readHead } from '../store/head.js';
import {
  NAMES,
  checkpointIn,
  isBelow,
  manifestUrl,
  objectUrl,
  pathBelow,
  prefixOf,
  rootOfRun,
  runObjectOf,
  stageLayout,
} from '../contracts/layout.js';
import { readModelManifest, verifyModel } from '../store/models.js';
import { parseJson } from '../store/object-store.js';
import type { ObjectStore } from '../store/object-store.js';
import { mapConcurrently } from '../store/transfer.js';
import { anchorsOf, recordedManifests, restOf } from './anchors.js';
import { checkOf } from './audit-data.js';
import type { Check, Difference } from './audit-data.js';
import { count } from './chains.js';
import { recordedArtifacts, unrecordedInputs } from './inputs.js';
import type { GatheredRun, GatheredStage } from './gathered.js';

/** How thoroughly bulk data is looked at: every byte read, or sizes and the checksums that the store reports. */
export type AuditLevel = 'full' | 'quick';

/** Artifacts in flight at once. */
const PARALLEL = 3;
/** Shards of one dataset in flight at once; each is in memory as a whole. */
const PARALLEL_SHARDS = 2;

/** Re-hashes everything. `onObject` is told what is read next. */
export async function checkArtifacts(
  store: ObjectStore,
  run: GatheredRun,
  level: AuditLevel,
  onObject: (url: string) => void,
): Promise<Check[]> {
  const verifier = new Verifier(store, level, run.runUrl, onObject);
  const named = [...recordedArtifacts(run), ...unrecordedInputs(run)];
  const artifacts = [...named, ...sealedExports(run, named)];
  const ofKind = (...kinds: readonly Artifact['kind'][]): Artifact[] =>
    artifacts.filter(({ kind }) => kinds.includes(kind));
  const marked = markedCheckpoints(run);
  return [
    await verifier.check('datasets', 'dataset', ofKind('dataset'), (one) => verifier.dataset(one)),
    await verifier.check(
      'checkpoints',
      'checkpoint',
      await checkpointsOf(store, run, ofKind('checkpoint')),
      (one) => (marked.has(one.url) ? verifier.marked(one) : verifier.checkpoint(one)),
    ),
    await verifier.check('models', 'model', ofKind('model'), (one) => verifier.model(one)),
    await verifier.check('results', 'result', ofKind('results', 'config', 'report'), (one) =>
      verifier.object(one),
    ),
  ];
}

/** Checkpoints that the ledger names as results, all that the stages' `HEAD`s still name, and all others that it records. */
async function checkpointsOf(
  store: ObjectStore,
  run: GatheredRun,
  recorded: readonly Artifact[],
): Promise<Artifact[]> {
  const named: Artifact[] = [];
  for (const stage of run.stages) {
    named.push(...(await lineArtifacts(store, stage)), ...keptArtifacts(run, stage));
  }
  const known = new Set(recorded.map(({ url }) => prefixOf(url)));
  const distinct = new Map(named.map((artifact) => [artifact.url, artifact]));
  return [...recorded, ...[...distinct.values()].filter(({ url }) => !known.has(url))];
}

/** A live stage leaves commits behind, and retention deletes them: those are not looked for. Quarantined ones are known bad. */
async function lineArtifacts(store: ObjectStore, { url, line, head }: GatheredStage): Promise<Artifact[]> {
  if (head === null) return [];
  const still = new Set(commitsOf((await readHead(store, url)).value).map(({ id }) => id));
  return line
    .filter(({ commit, quarantined }) => !quarantined && still.has(commit.id))
    .map(({ commit }) => checkpointArtifact(url, commit.id, commit.manifestDigest));
}

/** Recorded checkpoints that `HEAD` has left behind and that are still there, while nobody works on the stage. */
function keptArtifacts(run: GatheredRun, stage: GatheredStage): Artifact[] {
  if (restOf(run, stage) === null) return [];
  return [...recordedManifests(run, stage)].flatMap(([id, { value }]) => {
    const artifact = checkpointArtifact(stage.url, id, value);
    const manifest = pathBelow(run.runUrl, manifestUrl(artifact.url));
    return run.objects.has(manifest) ? [artifact] : [];
  });
}

/** Checkpoints that were found corrupt: nobody goes on from them, and their contents are not what they were. */
function markedCheckpoints({ stages }: GatheredRun): Set<string> {
  return new Set(
    stages.flatMap(({ quarantines }) => quarantines.map(({ url }) => url.replace(/\/[^/]+$/, ''))),
  );
}

function checkpointArtifact(stageUrl: string, id: string, digest: string): Artifact {
  return { kind: 'checkpoint', url: objectUrl(stageLayout(stageUrl).checkpoints, id), digest };
}

/** Exports that no record names as a result, by the seal of their stage: of an attempt that was ended while it exported. */
function sealedExports(run: GatheredRun, recorded: readonly Artifact[]): Artifact[] {
  const known = new Set(recorded.map(({ url }) => url));
  return [...anchorsOf(run).objects].flatMap(([path, { value: digest }]): Artifact[] => {
    if (runObjectOf(path) !== 'export-manifest' || digest === null) return [];
    const url = prefixOf(objectUrl(run.runUrl, path));
    return known.has(url) ? [] : [{ kind: 'model', url, digest }];
  });
}

/** Names of files beside a model that no loader takes. */
const NO_LOADERS = /^(\.|LICENSE|NOTICE|README|USE_POLICY)|\.(md|txt|png|jpg|pdf)$/i;

class Verifier {
  #bytes = 0;

  constructor(
    private readonly store: ObjectStore,
    private readonly level: AuditLevel,
    private readonly runUrl: string,
    private readonly onObject: (url: string) => void,
  ) {}

  async check(
    name: string,
    noun: string,
    artifacts: readonly Artifact[],
    verify: (artifact: Artifact) => Promise<readonly string[]>,
  ): Promise<Check> {
    const before = this.#bytes;
    const found = await mapConcurrently(artifacts, PARALLEL, async (artifact): Promise<Difference[]> => {
      this.onObject(artifact.url);
      const problems = await problemsOf(verify(artifact));
      return problems.map((message) => ({ object: artifact.url, message }));
    });
    const differences = found.flat();
    const how = this.level === 'full' ? 'read again and re-hashed' : 'compared by size and checksum';
    const bytes = formatBytes(this.#bytes - before);
    return checkOf(name, `${count(artifacts.length, noun)}, ${bytes} ${how}`, differences);
  }

  async dataset({ url, digest }: Artifact): Promise<readonly string[]> {
    const ref = datasetRefSchema.parse({ manifestUrl: manifestUrl(prefixOf(url)), digest });
    const bytes = await this.store.getVerified(ref.manifestUrl, ref.digest);
    const { shards } = parseJson(ref.manifestUrl, bytes, datasetManifestSchema);
    const problems = await mapConcurrently(shards, PARALLEL_SHARDS, async (shard) => {
      this.#bytes += shard.bytes;
      return this.#shard(objectUrl(prefixOf(url), shard.file), shard);
    });
    const names = [NAMES.manifest, 'index.json', ...shards.map(({ file }) => file)];
    return [
      ...problems.filter((problem) => problem !== null),
      ...(await this.#strangers(prefixOf(url), names)),
    ];
  }

  /**
   * Files of a folder that its manifest does not name: some loader may take them instead of those that it does. What lies
   * beside a model that was given, and that no loader takes, is its owner's.
   */
  async #strangers(prefixUrl: string, names: Iterable<string>): Promise<string[]> {
    const known = new Set(names);
    const root = rootOfRun(this.runUrl);
    const found: string[] = [];
    for await (const { url } of this.store.list(prefixUrl)) found.push(pathBelow(prefixUrl, url));
    return found
      .filter((name) => !known.has(name) && (isBelow(root, prefixUrl) || !NO_LOADERS.test(name)))
      .map((name) => `${name} is not in the manifest`);
  }

  async #shard(url: string, shard: DatasetManifest['shards'][number]): Promise<string | null> {
    try {
      const { bytes, sha256: checksum } = await this.store.head(url);
      if (bytes !== shard.bytes) return `${shard.file} has ${bytes} bytes, not ${shard.bytes}`;
      if (checksum !== null && checksum !== toBase64(shard.sha256)) {
        return `${shard.file}: the store reports another checksum`;
      }
      if (this.level === 'quick') return null;
      this.onObject(url);
      await this.store.getVerified(url, shard.sha256);
      return null;
    } catch (error) {
      if (isStoreError(error, 'not-found')) return `${shard.file} is gone`;
      if (isStoreError(error, 'invalid-object')) return `${shard.file} does not match its digest`;
      throw error;
    }
  }

  /** Of a checkpoint that was found corrupt, only that nothing was added to it. */
  async marked(artifact: Artifact): Promise<readonly string[]> {
    const ref = checkpointRefOf(artifact);
    if (ref === null) return [];
    try {
      return await this.#beside(artifact, (await readManifest(this.store, ref)).files);
    } catch (error) {
      if (isStoreError(error, 'not-found', 'invalid-object')) return [];
      throw error;
    }
  }

  async checkpoint(artifact: Artifact): Promise<readonly string[]> {
    const ref = checkpointRefOf(artifact);
    if (ref === null) return ['is no checkpoint of a stage'];
    const level = this.level === 'full' ? 'audited' : 'stored';
    const { problems } = await verifyCheckpoint(this.store, ref, level);
    if (problems.length > 0) return problems;
    const { files } = await readManifest(this.store, ref);
    this.#count(files);
    return this.#beside(artifact, files);
  }

  async #beside({ url }: Artifact, files: readonly { readonly path: string }[]): Promise<string[]> {
    const names = [NAMES.manifest, NAMES.quarantine, ...files.map(({ path }) => path)];
    const strangers = await this.#strangers(prefixOf(url), names);
    return strangers.filter((name) => !isBelow(NAMES.pins, name));
  }

  async model({ url, digest }: Artifact): Promise<readonly string[]> {
    const ref = modelRefSchema.parse({ url: prefixOf(url), digest });
    await verifyModel(this.store, ref, this.level === 'full' ? 'audited' : 'stored');
    const { files } = await readModelManifest(this.store, ref);
    this.#count(files);
    return this.#strangers(ref.url, [NAMES.manifest, ...files.map(({ path }) => path)]);
  }

  #count(files: readonly { readonly bytes: number }[]): void {
    for (const { bytes } of files) this.#bytes += bytes;
  }

  async object({ url, digest }: Artifact): Promise<readonly string[]> {
    const bytes = await this.store.get(url);
    this.#bytes += bytes.data.length;
    if (sha256(bytes.data) !== digest) await this.store.getVerified(url, digestSchema.parse(digest));
    return [];
  }
}

function checkpointRefOf({ url, digest }: Artifact): CheckpointRef | null {
  const parsed = checkpointRefSchema.safeParse({ ...checkpointIn(prefixOf(url)), manifestDigest: digest });
  return parsed.success ? parsed.data : null;
}

/** Problems of the object; the store's own trouble is thrown. */
async function problemsOf(verification: Promise<readonly string[]>): Promise<readonly string[]> {
  try {
    return await verification;
  } catch (error) {
    if (isStoreError(error, 'not-found')) return ['is gone'];
    if (isStoreError(error, 'invalid-object')) return [error.message.slice(error.url.length + 2)];
    throw error;
  }
}
