/** No object is read into memory whatever its size. */
import { beforeEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../src/store/errors.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
let store: ObjectStore;
let url: string;

beforeEach(async () => {
  store = server.current.connect();
  url = `${freshPrefix()}/object`;
  await store.put(url, Buffer.alloc(1_000_001, 'a'));
});

describe('an object larger than a caller reads', () => {
  test('is refused with its size, and is there all the same', async () => {
    for (const read of [() => store.get(url, { maxBytes: 1e6 }), () => store.find(url, { maxBytes: 1e6 })]) {
      const failure: unknown = await read().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(StoreError);
      expect(failure).toHaveProperty('code', 'invalid-object');
      expect(failure).toHaveProperty('message', expect.stringContaining('has 1000001 bytes'));
    }
    expect((await store.get(url, { maxBytes: 1_000_001 })).data).toHaveLength(1_000_001);
  });

  test('keeps no connection: a hundred refusals later the store answers', async () => {
    for (let n = 0; n < 100; n++) await store.get(url, { maxBytes: 10 }).catch(() => undefined);
    expect((await store.get(url)).data).toHaveLength(1_000_001);
  });
});
