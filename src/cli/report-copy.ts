/** Copies a run's report out of the object store, so that it can be opened in a browser. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Config } from '../config.js';
import { ObjectStore } from '../store/object-store.js';

/** Downloads the report to `<folder>/<run>/report.html` and returns that path. */
export async function copyReport(
  config: Config,
  run: string,
  reportUrl: string,
  folder: string,
): Promise<string> {
  const store = ObjectStore.connect(config.s3);
  try {
    const { data } = await store.get(reportUrl);
    const file = path.join(folder, run, 'report.html');
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(`${file}.tmp`, data);
    await rename(`${file}.tmp`, file);
    return file;
  } finally {
    store.close();
  }
}
