/** Where finished datasets go. The object store is one place; a folder, for tests and for looking, is another. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';

/** Keeps files below `datasets/<name>.<digest>/`. */
export interface DatasetSink {
  /** A file's bytes, undefined when it isn't there. */
  read(dataset: string, file: string): Promise<Uint8Array | undefined>;
  /** Writes a file that isn't there yet. One that is there is left: the name of a dataset says what is in it. */
  create(dataset: string, file: string, bytes: Uint8Array): Promise<void>;
  /** Where a file of a dataset is: `s3://…`. */
  url(dataset: string, file: string): string;
}

/** Datasets in a local folder. */
export function folderSink(folder: string): DatasetSink {
  const path = (dataset: string, file: string): string => join(folder, dataset, file);
  const read = async (dataset: string, file: string): Promise<Uint8Array | undefined> => {
    try {
      return await readFile(path(dataset, file));
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  };
  return {
    read,
    create: async (dataset, file, bytes) => {
      if ((await read(dataset, file)) !== undefined) return;
      const target = path(dataset, file);
      await mkdir(dirname(target), { recursive: true });
      const partial = `${target}.${randomUUID()}`;
      await writeFile(partial, bytes);
      await rename(partial, target);
    },
    url: (dataset, file) => `s3://local/${dataset}/${file}`,
  };
}
