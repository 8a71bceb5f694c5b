/** Reads a run's ledger and what it speaks of from the object store. Nothing is judged here but what can't be read. */
import { z } from 'zod';
import {
  checkpointManifestSchema,
  epochSchema,
  headSchema,
  jobSpecSchema,
  outcomeSchema,
  quarantineSchema,
  runOwnerSchema,
} from '../contracts/index.js';
import type { Head, Outcome } from '../contracts/index.js';
import { digestOf } from '../domain/lib/digest.js';
import { checkChain } from '../domain/ledger/chain.js';
import type { CheckedChain } from '../domain/ledger/chain.js';
import { parseResolvedRecipe } from '../domain/recipe/parse.js';
import { sha256 } from '../store/digest.js';
import { isStoreError } from '../store/errors.js';
import { commitsOf } from '../store/head.js';
import {
  NAMES,
  objectUrl,
  pathBelow,
  runIn,
  runLayout,
  runObjectOf,
  stageLayout,
} from '../contracts/layout.js';
import type { RunObject } from '../contracts/layout.js';
import { readChain } from '../store/ledger.js';
import { encodeJson, parseJson } from '../store/object-store.js';
import type { ObjectStore } from '../store/object-store.js';
import { mapConcurrently } from '../store/transfer.js';
import type { Difference } from './audit-data.js';
import { recordsOf } from './gathered.js';
import type {
  GatheredAttempt,
  GatheredCommit,
  GatheredRecipe,
  GatheredRun,
  GatheredSpec,
  GatheredStage,
} from './gathered.js';

/** Small objects in flight at once. */
const PARALLEL = 16;
/** What other checks read, or nobody. */
const BULK: ReadonlySet<RunObject | null> = new Set([
  null,
  'run-record',
  'stage-record',
  'checkpoint-file',
  'export-file',
] as const);

/** Reads everything an audit needs but bulk data. @throws StoreError for the store's own trouble. */
export async function readRun(store: ObjectStore, runUrl: string): Promise<GatheredRun> {
  return new RunReader(store, runUrl).read();
}

class RunReader {
  readonly #unreadable: Difference[] = [];

  constructor(
    private readonly store: ObjectStore,
    private readonly runUrl: string,
  ) {}

  async read(): Promise<GatheredRun> {
    const layout = runLayout(this.runUrl);
    const chain = await this.#chain(layout.ledger);
    const owner = await this.#object(layout.owner, runOwnerSchema);
    const recipe = await this.#recipe(layout.recipe);
    const folders = new Set(recordsOf(chain, 'stage-started').map(({ entry }) => entry.folder));
    for (const folder of await this.store.folders(layout.stages)) folders.add(folder);
    const stages: GatheredStage[] = [];
    for (const folder of [...folders].sort()) stages.push(await this.#stage(folder, layout.stage(folder)));
    return {
      run: runIn(this.runUrl),
      runUrl: this.runUrl,
      owner,
      recipe,
      chain,
      stages,
      objects: await this.#objects(),
      unreadable: this.#unreadable,
    };
  }

  async #chain(chainUrl: string): Promise<CheckedChain> {
    return checkChain(await readChain(this.store, chainUrl));
  }

  /** Read last: what is recorded by now is there. What retention deletes meanwhile is not. */
  async #objects(): Promise<Map<string, string | null>> {
    const paths: string[] = [];
    for await (const { url } of this.store.list(this.runUrl)) paths.push(pathBelow(this.runUrl, url));
    const digests = await mapConcurrently(paths, PARALLEL, async (path) => {
      if (BULK.has(runObjectOf(path))) return [[path, null] as const];
      const found = await this.store.find(objectUrl(this.runUrl, path));
      return found === null ? [] : [[path, sha256(found.data)] as const];
    });
    return new Map(digests.flat());
  }

  async #recipe(url: string): Promise<GatheredRecipe | null> {
    const bytes = (await this.store.find(url))?.data;
    const json = bytes === undefined ? null : this.#parsed(url, bytes, z.unknown());
    if (json === null || bytes === undefined) return null;
    const parsed = parseResolvedRecipe(json);
    const isCanonical = Buffer.compare(bytes, encodeJson(json)) === 0;
    return { recipe: parsed.ok ? parsed.recipe : null, digest: digestOf(json), isCanonical };
  }

  async #stage(folder: string, url: string): Promise<GatheredStage> {
    const layout = stageLayout(url);
    const head = await this.#object(layout.head, headSchema);
    return {
      folder,
      url,
      chain: await this.#chain(layout.ledger),
      specs: await this.#specs(layout),
      head,
      line: head === null ? [] : await this.#line(url, head),
      attempts: await this.#attempts(url),
      quarantines: await this.#quarantines(layout.checkpoints),
    };
  }

  async #line(stageUrl: string, head: Head): Promise<GatheredCommit[]> {
    return mapConcurrently(commitsOf(head), PARALLEL, async (commit) => ({
      commit,
      quarantined: (await this.store.find(stageLayout(stageUrl).quarantine(commit.id))) !== null,
      fingerprint: await this.#fingerprint(stageLayout(stageUrl).manifest(commit.id)),
    }));
  }

  async #quarantines(checkpointsUrl: string): Promise<GatheredStage['quarantines']> {
    const marks: { id: string; epoch: number; url: string }[] = [];
    for await (const { url } of this.store.list(checkpointsUrl)) {
      if (!/\/checkpoints\/[^/]+\/quarantine\.json$/.test(url)) continue;
      const mark = await this.#object(url, quarantineSchema);
      if (mark !== null) marks.push({ id: mark.id, epoch: mark.epoch, url });
    }
    return marks;
  }

  /** Whether the manifest is the one that was committed is for the verification of checkpoints to say. */
  async #fingerprint(url: string): Promise<GatheredCommit['fingerprint']> {
    const bytes = (await this.store.find(url))?.data;
    if (bytes === undefined) return null;
    try {
      return parseJson(url, bytes, checkpointManifestSchema).fingerprint;
    } catch (error) {
      if (!isStoreError(error, 'invalid-object')) throw error;
      return null;
    }
  }

  async #specs(layout: ReturnType<typeof stageLayout>): Promise<GatheredSpec[]> {
    const specs: GatheredSpec[] = [];
    for (let revision = 0; ; revision += 1) {
      const url = layout.specOf(revision);
      const bytes = (await this.store.find(url))?.data;
      if (bytes === undefined) return specs;
      const spec = this.#parsed(url, bytes, jobSpecSchema);
      specs.push({ revision, digest: sha256(bytes), spec });
    }
  }

  async #attempts(stageUrl: string): Promise<GatheredAttempt[]> {
    const { attempts: prefix } = stageLayout(stageUrl);
    const files = new Map<number, string[]>();
    for await (const { url } of this.store.list(prefix)) {
      const [folder = '', ...name] = pathBelow(prefix, url).split('/');
      const epoch = Number(folder);
      if (Number.isInteger(epoch)) files.set(epoch, [...(files.get(epoch) ?? []), name.join('/')]);
    }
    const epochs = [...files].sort(([a], [b]) => a - b);
    return mapConcurrently(epochs, PARALLEL, async ([epoch, names]) => ({
      epoch,
      ran: names.some((name) => name !== NAMES.attemptFile),
      outcome: names.includes(NAMES.outcome) ? await this.#outcome(stageUrl, epoch) : null,
    }));
  }

  #outcome(stageUrl: string, epoch: number): Promise<Outcome | null> {
    return this.#object(stageLayout(stageUrl).outcome(epochSchema.parse(epoch)), outcomeSchema);
  }

  /** The object; null when it isn't there, or isn't what it should be, which is noted. */
  async #object<T>(url: string, schema: z.ZodType<T>): Promise<T | null> {
    const bytes = (await this.store.find(url))?.data;
    return bytes === undefined ? null : this.#parsed(url, bytes, schema);
  }

  #parsed<T>(url: string, bytes: Uint8Array, schema: z.ZodType<T>): T | null {
    try {
      return parseJson(url, bytes, schema);
    } catch (error) {
      if (!isStoreError(error, 'invalid-object')) throw error;
      this.#unreadable.push({ object: url, message: error.message.slice(url.length + 2) });
      return null;
    }
  }
}
