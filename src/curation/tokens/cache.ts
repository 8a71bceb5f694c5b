/** The folder in which tokenised text is kept for the next dataset: it stays bounded. */
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes of a cache; above, what was used least recently goes. */
const MAX_BYTES = 64 * 2 ** 30;
/** What was used in this time stays in any case: a curation may be reading or writing it. */
const KEEP_MS = 24 * 3_600_000;

/** Marks an entry as used now. */
export async function markUsed(folder: string): Promise<void> {
  const now = new Date();
  await utimes(folder, now, now);
}

/** Deletes entries, and what curations that were killed have left, least recently used first, until the rest is small enough. */
export async function pruneCache(
  cacheFolder: string,
  { maxBytes = MAX_BYTES, keepMs = KEEP_MS }: { readonly maxBytes?: number; readonly keepMs?: number } = {},
): Promise<void> {
  const entries = await Promise.all(
    (await readdir(cacheFolder)).map((name) => entryOf(join(cacheFolder, name))),
  );
  let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const before = Date.now() - keepMs;
  for (const entry of entries.sort((a, b) => a.usedAt - b.usedAt)) {
    if (bytes <= maxBytes || entry.usedAt > before) return;
    await rm(entry.folder, { recursive: true, force: true });
    bytes -= entry.bytes;
  }
}

/** Size of an entry, and when it or a file in it was last used or written, as milliseconds of the epoch. */
async function entryOf(folder: string): Promise<{ folder: string; bytes: number; usedAt: number }> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  let [bytes, usedAt] = [0, 0];
  for (const path of [folder, ...names.map((name) => join(folder, name))]) {
    // Another curation may have moved or deleted it meanwhile.
    const found = await stat(path).catch(() => null);
    if (found?.isFile() === true) bytes += found.size;
    usedAt = Math.max(usedAt, found?.mtimeMs ?? 0);
  }
  return { folder, bytes, usedAt };
}
