/** Before anything is launched: every check that needs the store or a file, then the run's prefix, frozen recipe and base model. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest, ModelRef } from '../../src/contracts/index.js';
import type { SourceRoots } from '../../src/curation/index.js';
import { checkInProcess } from '../../src/curation/process/client.js';
import { formatProblems } from '../../src/domain/recipe/problem.js';
import type { Problem } from '../../src/domain/recipe/problem.js';
import type { Recipe } from '../../src/domain/recipe/schema.js';
import { sha256 } from '../../src/store/digest.js';
import { isStoreError } from '../../src/store/errors.js';
import { NAMES, manifestUrl, modelLayout, rootLayout, runLayout } from '../../src/contracts/layout.js';
import {
  modelFiles,
  publishModel,
  readModelFile,
  readModelManifest,
  weightsProblem,
} from '../../src/store/models.js';
import { UnsafeStoreError, probeConditionalWrites } from '../../src/store/race-probe.js';
import { encodeJson } from '../../src/store/object-store.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { ownRun, RunOwnedByOtherError } from '../../src/store/run-owner.js';
import { heartbeating } from '../lib/heartbeating.js';
import { checkBucket, checkBuckets, checkConfig, checkTokenizer } from './checks.js';
import type { ConfigRef } from '../rope-bump.js';

/** The run to prepare. */
export interface PrepareInput {
  readonly run: string;
  readonly recipe: Recipe;
  readonly recipeDigest: Digest;
  readonly namespace: string;
  readonly workflowId: string;
}

/** Where everything is. */
export interface PreparedRun {
  /** `s3://bucket/prefix`: datasets, models and runs lie below it. */
  readonly rootUrl: string;
  readonly runUrl: string;
  readonly base: ModelRef;
  /** Folder with the tokenizer's files. */
  readonly tokenizer: ModelRef;
  readonly baseConfig: ConfigRef;
}

/** What the activities of this file need. */
export interface PrepareDependencies {
  readonly store: ObjectStore;
  /** `s3://bucket/prefix` where a recipe names no other. */
  readonly rootUrl: string;
  /** Buckets that a recipe may name. */
  readonly buckets: readonly string[];
  readonly roots: SourceRoots;
  /** Folder of the models that ship with the project. */
  readonly modelsFolder: string;
  /** Longest time that a look at a recipe's sources may take, milliseconds; some minutes where it is left out. */
  readonly checkDeadlineMs?: number;
}

/** The activities of this file. */
export type PrepareActivities = ReturnType<typeof createPrepareActivities>;

/** Creates the activities. */
export function createPrepareActivities(deps: PrepareDependencies) {
  return {
    /**
     * Checks everything the recipe names, and that the store lets one writer win; makes the run's prefix its own, freezes the recipe and stores the base model.
     * @throws ApplicationFailure `user-error` with every problem and its path, or when the prefix is another run's.
     */
    prepareRun: (input: PrepareInput): Promise<PreparedRun> => heartbeating(() => prepareRun(deps, input)),
  };
}

async function prepareRun(deps: PrepareDependencies, input: PrepareInput): Promise<PreparedRun> {
  const { recipe, run } = input;
  const rootUrl = recipe.store?.url ?? deps.rootUrl;
  refuse(checkBuckets(recipe, deps.buckets));
  const noBucket = await checkBucket(deps.store, rootUrl);
  const baseFolder = baseFolderOf(deps, recipe);
  const tokenizerFolder = tokenizerFolderOf(deps, recipe);
  refuse([
    ...noBucket,
    ...(await checkFolders(baseFolder, tokenizerFolder, recipe)),
    ...(await checkSources(recipe, deps)),
  ]);
  await probeStore(deps.store, rootUrl);
  const runUrl = rootLayout(rootUrl).run(run);
  await own(deps.store, runUrl, input);
  await deps.store.create(runLayout(runUrl).recipe, encodeJson(recipe));
  const base = await baseFolder.store(rootUrl);
  const config = await baseFolder.read(NAMES.config);
  return {
    rootUrl,
    runUrl,
    base,
    tokenizer: (await tokenizerFolder?.store(rootUrl)) ?? base,
    baseConfig: { url: modelLayout(base.url).config, digest: sha256(config) },
  };
}

/** In a process of its own: what sources name may be anything, and must not keep or end a worker. */
async function checkSources({ data }: Recipe, deps: PrepareDependencies): Promise<Problem[]> {
  if (Object.keys(data.sources).length === 0) return [];
  const { roots, checkDeadlineMs: deadlineMs } = deps;
  const request = { check: 'sources', sources: data.sources, roots } as const;
  return checkInProcess(request, { signal: Context.current().cancellationSignal, deadlineMs });
}

/** A Hugging Face folder, wherever it is. */
interface Folder {
  /** A file that is the model's own. */
  read(name: string): Promise<Uint8Array>;
  /** Names of the files that are the model's own. */
  names(): Promise<readonly string[]>;
  /** The folder in the object store, put there if it isn't. */
  store(rootUrl: string): Promise<ModelRef>;
}

function baseFolderOf({ store, modelsFolder }: PrepareDependencies, { base: { model } }: Recipe): Folder {
  switch (model.source) {
    case 'bundled': {
      const folder = join(modelsFolder, model.name);
      return {
        read: (name) => readFile(join(folder, name)),
        names: () => modelFiles(folder),
        store: (rootUrl) => publishModel(store, { rootUrl, name: model.name, folder, origin: 'base' }),
      };
    }
    case 's3':
      return storedFolder(store, model.url);
  }
}

/** A tokenizer of its own; null: the base model's. */
function tokenizerFolderOf({ store }: PrepareDependencies, { tokenizer }: Recipe): Folder | null {
  return tokenizer.source === 'base' ? null : storedFolder(store, tokenizer.url);
}

/** A folder in an object store holds what its manifest lists, and nothing else that lies there. */
function storedFolder(store: ObjectStore, url: string): Folder {
  const open = async () => {
    const { data } = await store.get(manifestUrl(url));
    const ref = { url, digest: sha256(data) };
    return { ref, manifest: await readModelManifest(store, ref) };
  };
  return {
    read: async (name) => {
      const { ref, manifest } = await open();
      return readModelFile(store, ref, manifest, name);
    },
    names: async () => (await open()).manifest.files.map((file) => file.path),
    store: async () => (await open()).ref,
  };
}

async function checkFolders(base: Folder, tokenizer: Folder | null, recipe: Recipe): Promise<Problem[]> {
  const checkVocabulary = async (folder: Folder) =>
    checkTokenizer(await folder.read(NAMES.tokenizer), recipe);
  return [
    ...(await problemsIn('base.model', async () => [
      ...checkConfig(await base.read(NAMES.config), recipe),
      ...(await checkWeights(base)),
      ...(tokenizer === null ? await checkVocabulary(base) : []),
    ])),
    ...(tokenizer === null ? [] : await problemsIn('tokenizer.url', () => checkVocabulary(tokenizer))),
  ];
}

async function checkWeights(base: Folder): Promise<Problem[]> {
  const problem = await weightsProblem(await base.names(), (name) => base.read(name));
  return problem === null ? [] : [{ path: 'base.model', message: problem }];
}

/** What a check finds; a folder that lacks something, or can't be read, is a problem as well. */
async function problemsIn(path: string, check: () => Promise<Problem[]>): Promise<Problem[]> {
  try {
    return await check();
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const refusing = ['not-found', 'access-denied', 'wrong-address', 'invalid-object'] as const;
    if (!missing && !isStoreError(error, ...refusing)) throw error;
    const accepted =
      'a Hugging Face folder that can be read, with the manifest.json of its files if it is in a store';
    return [{ path, message: error.message, accepted }];
  }
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  throw ApplicationFailure.create({
    type: 'user-error',
    nonRetryable: true,
    message: formatProblems(problems),
    details: [problems],
  });
}

/** One writer: a promise that rests on the store's conditional writes, so every run tries them first. */
async function probeStore(store: ObjectStore, rootUrl: string): Promise<void> {
  try {
    await probeConditionalWrites(store, rootLayout(rootUrl).probes, { rounds: 2, writers: 8 });
  } catch (error) {
    if (!(error instanceof UnsafeStoreError)) throw error;
    throw ApplicationFailure.create({ type: 'user-error', nonRetryable: true, message: error.message });
  }
}

async function own(store: ObjectStore, runUrl: string, input: PrepareInput): Promise<void> {
  const { namespace, workflowId, recipeDigest } = input;
  try {
    await ownRun(store, { runUrl, namespace, workflowId, recipeDigest });
  } catch (error) {
    if (!(error instanceof RunOwnedByOtherError)) throw error;
    throw ApplicationFailure.create({ type: 'user-error', nonRetryable: true, message: error.message });
  }
}
