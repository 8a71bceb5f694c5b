/** Model folders: Hugging Face files with a `manifest.json` beside them, named by that manifest's digest. */
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { modelManifestSchema } from '../contracts/index.js';
import type { ModelManifest, ModelRef } from '../contracts/index.js';
import { coverageProblem, describeBytes, sha256 } from './digest.js';
import { StoreError } from './errors.js';
import { NAMES, manifestUrl, objectUrl, rootLayout } from '../contracts/layout.js';
import { encodeJson, parseJson } from './object-store.js';
import type { ObjectStore } from './object-store.js';
import { describeFile, downloadFiles, uploadFile, verifyBytes, verifyStored } from './transfer.js';

/** A local model folder to upload. */
export interface PublishModelInput {
  /** `s3://bucket/prefix` below which `models/` lies. */
  readonly rootUrl: string;
  readonly name: string;
  /** Local folder; the model's own files of its top level are uploaded (see `isModelFile`), nothing else beside them. */
  readonly folder: string;
  /** What made it: "base", or stage URL and commit. */
  readonly origin: string;
}

/** Uploads a model folder to `models/<name>.<digest>`, manifest last. One that is there already is only looked at. */
export async function publishModel(store: ObjectStore, input: PublishModelInput): Promise<ModelRef> {
  const names = await modelFiles(input.folder);
  const files = [];
  for (const name of names) files.push(await describeFile(name, path.join(input.folder, name)));
  const manifest: ModelManifest = { schema: 'longhaul.model/1', files, origin: input.origin };
  const bytes = encodeJson(modelManifestSchema.parse(manifest));
  const digest = sha256(bytes);
  const url = rootLayout(input.rootUrl).model(input.name, digest);
  const ref = { url, digest };
  if (await store.exists(manifestUrl(url))) {
    await verifyModel(store, ref, 'stored');
    return ref;
  }
  for (const file of files) {
    const uploaded = await uploadFile(store, url, file.path, { file: path.join(input.folder, file.path) });
    if (JSON.stringify(uploaded) !== JSON.stringify(file)) {
      throw new StoreError(
        'invalid-object',
        objectUrl(url, file.path),
        'the local file changed while it was uploaded',
      );
    }
  }
  await store.create(manifestUrl(url), bytes);
  return ref;
}

/** The model's files in a folder, sorted. @throws StoreError `invalid-object` when it holds no model. */
export async function modelFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile() && isModelFile(entry.name))
    .map(({ name }) => name)
    .sort();
  if (!names.includes(NAMES.config) || !names.some((name) => name.endsWith('.safetensors'))) {
    throw new StoreError('invalid-object', folder, 'is no model: it needs config.json and *.safetensors');
  }
  const problem = await weightsProblem(names, (name) => readFile(path.join(folder, name)));
  if (problem !== null) throw new StoreError('invalid-object', folder, problem);
  return names;
}

const WEIGHTS = 'model.safetensors';
const WEIGHTS_INDEX = 'model.safetensors.index.json';
const weightsIndexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/**
 * What keeps a model's weights from being loaded from its own files alone, null where nothing does: they are in model.safetensors, or
 * in files of `names` that its index names. What an index names besides is nobody's to read.
 */
export async function weightsProblem(
  names: readonly string[],
  read: (name: string) => Promise<Uint8Array>,
): Promise<string | null> {
  if (names.includes(WEIGHTS)) return null;
  if (!names.includes(WEIGHTS_INDEX)) return `there is no ${WEIGHTS} and no ${WEIGHTS_INDEX}`;
  const index = weightsIndexSchema.safeParse(jsonOf(await read(WEIGHTS_INDEX)));
  const files = index.success ? [...new Set(Object.values(index.data.weight_map))] : [];
  if (files.length === 0) return `${WEIGHTS_INDEX} has no weight_map from tensors to files`;
  const others = files.filter((file) => !names.includes(file) || !file.endsWith('.safetensors'));
  if (others.length === 0) return null;
  const named = others.slice(0, 5).map((file) => JSON.stringify(file));
  return `${WEIGHTS_INDEX} names files that are not among the model's own: ${named.join(', ')}`;
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

const MODEL_FILES = new Set([
  'chat_template.jinja',
  NAMES.config,
  'generation_config.json',
  'special_tokens_map.json',
  NAMES.tokenizer,
  'tokenizer_config.json',
]);

/** Does a file of this name belong to a Hugging Face model, and not to its provenance, notes or somebody's editor? */
export function isModelFile(name: string): boolean {
  return MODEL_FILES.has(name) || /^[^.].*\.safetensors(\.index\.json)?$/.test(name);
}

/** A model's manifest, by its digest. @throws StoreError `not-found`, `invalid-object`. */
export async function readModelManifest(store: ObjectStore, ref: ModelRef): Promise<ModelManifest> {
  const url = manifestUrl(ref.url);
  const manifest = parseJson(url, await store.getVerified(url, ref.digest), modelManifestSchema);
  const problem = coverageProblem(manifest.files);
  if (problem !== null) throw new StoreError('invalid-object', url, problem);
  return manifest;
}

/**
 * One small file of a model, verified against the model's manifest; what that doesn't list is not there.
 * @throws StoreError `not-found`, `invalid-object`.
 */
export async function readModelFile(
  store: ObjectStore,
  ref: ModelRef,
  { files }: ModelManifest,
  name: string,
): Promise<Uint8Array> {
  const url = objectUrl(ref.url, name);
  const listed = files.find((file) => file.path === name);
  if (listed === undefined) throw new StoreError('not-found', url, `is not in the model's ${NAMES.manifest}`);
  const { data } = await store.get(url);
  if (JSON.stringify(describeBytes(name, data)) !== JSON.stringify(listed)) {
    throw new StoreError('invalid-object', url, `is not what the model's ${NAMES.manifest} says`);
  }
  return data;
}

/** Verifies a model's files: as the store reports them, or byte by byte. @throws StoreError `invalid-object`. */
export async function verifyModel(
  store: ObjectStore,
  ref: ModelRef,
  level: 'stored' | 'audited',
): Promise<void> {
  const { files } = await readModelManifest(store, ref);
  const verify = level === 'stored' ? verifyStored : verifyBytes;
  refuse(ref, await verify(store, ref.url, files));
}

/** Downloads a model into a folder, every part verified. @throws StoreError `invalid-object`. */
export async function downloadModel(store: ObjectStore, ref: ModelRef, folder: string): Promise<void> {
  const { files } = await readModelManifest(store, ref);
  refuse(ref, await downloadFiles(store, ref.url, files, folder));
}

function refuse(ref: ModelRef, problems: readonly string[]): void {
  if (problems.length > 0) throw new StoreError('invalid-object', ref.url, problems.join('; '));
}
