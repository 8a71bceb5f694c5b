import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isStoreError } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { startFaultyProxy, storeAnswer } from '../support/faulty-proxy.js';
import type { Fault, FaultyProxy } from '../support/faulty-proxy.js';
import { freshPrefix, useS3Server } from './support.js';

const KEYS = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const;
const OLD = { id: 'a-key-that-was-replaced', secret: 'old' };

const server = useS3Server();
let folder: string;
let proxy: FaultyProxy;
let store: ObjectStore;
let answer: Fault;
/** Requests signed with the replaced key. */
let refused: number;
let kept: Readonly<Record<string, string | undefined>>;
let current: { readonly id: string; readonly secret: string };

/** What whoever rotates keys does to `~/.aws/credentials`. */
const rotateTo = ({ id, secret }: { readonly id: string; readonly secret: string }): Promise<void> =>
  writeFile(
    path.join(folder, 'credentials'),
    `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`,
  );

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'longhaul-keys-'));
  kept = Object.fromEntries(KEYS.map((key) => [key, process.env[key]]));
  current = { id: kept['AWS_ACCESS_KEY_ID'] ?? '', secret: kept['AWS_SECRET_ACCESS_KEY'] ?? '' };
  for (const key of KEYS) Reflect.deleteProperty(process.env, key);
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = path.join(folder, 'credentials');
  process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
});

afterAll(async () => {
  Object.assign(process.env, kept);
  Reflect.deleteProperty(process.env, 'AWS_SHARED_CREDENTIALS_FILE');
  Reflect.deleteProperty(process.env, 'AWS_EC2_METADATA_DISABLED');
  await rm(folder, { recursive: true });
});

beforeEach(async () => {
  refused = 0;
  // The server itself refuses a key that it doesn't know.
  answer = 'pass';
  proxy = await startFaultyProxy(server.current.endpoint, ({ headers }) => {
    if (headers.authorization?.includes(`Credential=${OLD.id}/`) !== true) return 'pass';
    refused += 1;
    return answer;
  });
  store = server.current.connect({ endpoint: proxy.endpoint });
  await rotateTo(OLD);
});

afterEach(() => proxy.stop());

describe('keys that were rotated in ~/.aws/credentials while a worker lives', () => {
  it.each<[string, Fault]>([
    ['the server’s own refusal of a key', 'pass'],
    ['InvalidAccessKeyId', storeAnswer(403, 'InvalidAccessKeyId')],
    ['ExpiredToken', storeAnswer(400, 'ExpiredToken')],
    ['AccessDenied', storeAnswer(403, 'AccessDenied')],
  ])('are used as soon as the old ones meet %s', async (_, refusal) => {
    answer = refusal;
    const url = `${freshPrefix()}/object`;
    await expect(store.put(url, Buffer.from('x'))).rejects.toMatchObject({ code: 'access-denied' });
    expect(refused).toBe(1);
    await rotateTo(current);
    await store.put(url, Buffer.from('x'));
    expect(refused).toBe(2);
    expect(await store.exists(url)).toBe(true);
    expect(refused).toBe(2);
  });

  it.each([403, 400])('are used after an answer of %i to a HEAD, which has no word', async (status) => {
    answer = { status, body: '' };
    const url = `${freshPrefix()}/object`;
    await store.exists(url).catch((error: unknown) => expect(isStoreError(error)).toBe(true));
    await rotateTo(current);
    expect(await store.exists(url)).toBe(false);
  });

  it('are used by everything that is under way', async () => {
    answer = storeAnswer(403, 'InvalidAccessKeyId');
    const prefix = freshPrefix();
    await store.exists(`${prefix}/0`).catch(() => null);
    await rotateTo(current);
    const urls = Array.from({ length: 16 }, (_, index) => `${prefix}/${index}`);
    await Promise.all(urls.map((url) => store.create(url, Buffer.from(url))));
    expect(refused).toBeLessThanOrEqual(2 + urls.length);
    const found = await Promise.all(urls.map((url) => store.exists(url)));
    expect(found).toEqual(urls.map(() => true));
  });

  it('are not waited for: a refusal stays one while they are as they were, or half written', async () => {
    answer = storeAnswer(403, 'InvalidAccessKeyId');
    const url = `${freshPrefix()}/object`;
    await expect(store.get(url)).rejects.toMatchObject({ code: 'access-denied' });
    await writeFile(path.join(folder, 'credentials'), '[default]\naws_access_key_id =');
    await expect(store.get(url)).rejects.toMatchObject({ code: 'access-denied' });
    expect(refused).toBe(2);
  });
});
