/** Datasets: manifests by digest, and whether a dataset is really there. */
import { datasetManifestSchema } from '../contracts/index.js';
import type { DatasetManifest, DatasetRef } from '../contracts/index.js';
import { isStoreError } from './errors.js';
import { parseJson } from './object-store.js';
import type { ObjectStore } from './object-store.js';

/** A dataset's manifest, by its digest. @throws StoreError `not-found`, `invalid-object`. */
export async function readDatasetManifest(store: ObjectStore, ref: DatasetRef): Promise<DatasetManifest> {
  return parseJson(
    ref.manifestUrl,
    await store.getVerified(ref.manifestUrl, ref.digest),
    datasetManifestSchema,
  );
}

/** Compares a dataset's shards with its manifest by size; returns the problems. */
export async function datasetProblems(store: ObjectStore, ref: DatasetRef): Promise<string[]> {
  const manifest = await readDatasetManifest(store, ref);
  const prefix = ref.manifestUrl.replace(/\/[^/]*$/, '');
  const problems: string[] = [];
  for (const shard of manifest.shards) {
    try {
      const { bytes } = await store.head(`${prefix}/${shard.file}`);
      if (bytes !== shard.bytes)
        problems.push(`${shard.file} has ${String(bytes)} bytes, not ${String(shard.bytes)}`);
    } catch (error) {
      if (!isStoreError(error, 'not-found')) throw error;
      problems.push(`${shard.file} is gone`);
    }
  }
  return problems;
}
