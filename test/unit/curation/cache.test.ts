/** The cache of tokenised text takes a bounded part of the disk. */
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { markUsed, pruneCache } from '../../../src/curation/tokens/cache.js';

const DAY_MS = 24 * 3_600_000;
let folder: string;

/** An entry of 100 bytes, last used so many days ago. */
async function entry(name: string, days: number): Promise<void> {
  const [own, file] = [join(folder, name), join(folder, name, 'tokens')];
  await mkdir(own);
  await writeFile(file, 'x'.repeat(100));
  const usedAt = new Date(Date.now() - days * DAY_MS);
  for (const path of [file, own]) await utimes(path, usedAt, usedAt);
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-cache-'));
  await entry('a', 4);
  await entry('b', 5);
  await entry('scratch-c', 6);
  await entry('d', 0.5);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a cache that is too large', () => {
  it.each([
    [400, ['a', 'b', 'd', 'scratch-c']],
    [399, ['a', 'b', 'd']],
    [250, ['a', 'd']],
    [0, ['d']],
  ])('of %i bytes keeps %j: least recently used goes first, and nothing of today', async (maxBytes, kept) => {
    await pruneCache(folder, { maxBytes });
    expect((await readdir(folder)).sort()).toEqual(kept);
  });

  it('keeps what has been used again', async () => {
    await markUsed(join(folder, 'b'));
    await pruneCache(folder, { maxBytes: 0 });
    expect((await readdir(folder)).sort()).toEqual(['b', 'd']);
  });
});
