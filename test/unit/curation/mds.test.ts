import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { MdsWriter } from '../../../src/curation/write/mds.js';
import type { Row, Shard } from '../../../src/curation/write/mds.js';
import { FIXTURES, readShard } from './support.js';

const rowSchema = z.object({
  tokens: z.array(z.int()),
  bounds: z.array(z.int()),
  domain: z.string(),
  mask: z.array(z.int()),
});

async function goldenRows(): Promise<z.infer<typeof rowSchema>[]> {
  return z.array(rowSchema).parse(JSON.parse(await readFile(join(FIXTURES, 'mds/rows.json'), 'utf8')));
}

async function write(masked: boolean, shardBytes: number): Promise<{ shards: Shard[]; index: Uint8Array }> {
  const writer = new MdsWriter({ mask: masked, shardBytes });
  const shards: (Shard | undefined)[] = [];
  for (const { tokens, bounds, domain, mask } of await goldenRows()) {
    const row: Row = { tokens: Uint32Array.from(tokens), bounds: Uint32Array.from(bounds), domain };
    shards.push(writer.add(masked ? { ...row, mask: Uint8Array.from(mask) } : row));
  }
  shards.push(writer.flush());
  return { shards: shards.filter((shard) => shard !== undefined), index: writer.indexFile() };
}

describe('shards are those of mosaicml-streaming, byte for byte', () => {
  test.each([
    ['plain', false, 4096, 3],
    ['masked', true, 2 ** 26, 1],
  ])('%s rows', async (folder, masked, shardBytes, count) => {
    const { shards, index } = await write(masked, shardBytes);
    expect(shards).toHaveLength(count);
    for (const { file, bytes } of shards)
      expect(Buffer.from(bytes).equals(await readFile(join(FIXTURES, 'mds', folder, file)))).toBe(true);
    expect(new TextDecoder().decode(index)).toBe(
      await readFile(join(FIXTURES, 'mds', folder, 'index.golden'), 'utf8'),
    );
  });
});

describe('a reader gets back what was written', () => {
  test('tokens, bounds, domain and mask', async () => {
    const [shard] = (await write(true, 2 ** 26)).shards;
    const rows = await goldenRows();
    expect(
      readShard(shard?.bytes ?? new Uint8Array()).map(({ tokens, domain, mask, bounds }) => ({
        tokens,
        bounds: bounds.flat(),
        domain,
        mask,
      })),
    ).toEqual(rows);
  });

  test('a mask that is not as long as its row is refused', () => {
    const writer = new MdsWriter({ mask: true, shardBytes: 1 });
    const row = { tokens: new Uint32Array(4), bounds: Uint32Array.of(0, 4), domain: 'chat' };
    expect(() => writer.add({ ...row, mask: new Uint8Array(3) })).toThrow(RangeError);
    expect(() => writer.add(row)).toThrow(RangeError);
  });
});
