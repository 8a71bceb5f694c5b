import { CreateMultipartUploadCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PART_BYTES } from '../../src/contracts/index.js';
import { parseUrl } from '../../src/contracts/layout.js';
import {
  abortUploads,
  describeBytes,
  describeFile,
  downloadFiles,
  mapConcurrently,
  pendingUploads,
  uploadFile,
  verifyBytes,
  verifyStored,
} from '../../src/store/index.js';
import type { ObjectStore, PendingUpload } from '../../src/store/index.js';
import { startFaultyProxy } from '../support/faulty-proxy.js';
import type { FaultyProxy } from '../support/faulty-proxy.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
let store: ObjectStore;
let prefix: string;
let scratch: string;
let proxy: FaultyProxy | undefined;

beforeEach(async () => {
  store = server.current.connect();
  prefix = freshPrefix();
  scratch = await mkdtemp(path.join(tmpdir(), 'longhaul-transfer-'));
});

afterEach(async () => {
  await proxy?.stop();
  proxy = undefined;
  await rm(scratch, { recursive: true });
});

/** A file of a whole part and 5 bytes, mostly holes. */
async function largeFile(): Promise<string> {
  const file = path.join(scratch, 'large');
  const handle = await open(file, 'w');
  await handle.truncate(PART_BYTES + 5);
  await handle.write('first', 0);
  await handle.write('last', PART_BYTES);
  await handle.close();
  return file;
}

async function uploadsBelow(url: string): Promise<PendingUpload[]> {
  const found = [];
  for await (const upload of pendingUploads(store, url)) found.push(upload);
  return found;
}

describe('large files travel in the manifest’s own parts', () => {
  it('up, known to the store by the parts’ digests, and down again', async () => {
    const file = await largeFile();
    const described = await describeFile('large', file);
    expect(described.parts.map(({ bytes }) => bytes)).toEqual([PART_BYTES, 5]);
    expect(await uploadFile(store, prefix, 'large', { file })).toEqual(described);
    expect(await verifyStored(store, prefix, [described])).toEqual([]);
    const target = path.join(scratch, 'target');
    expect(await downloadFiles(store, prefix, [described], target)).toEqual([]);
    expect(await describeFile('large', path.join(target, 'large'))).toEqual(described);
  });

  it('and a part that disagrees is named by its bytes', async () => {
    const described = await uploadFile(store, prefix, 'large', { file: await largeFile() });
    const handle = await open(server.current.fileOf(`${prefix}/large`), 'r+');
    await handle.write('X', PART_BYTES);
    await handle.close();
    expect(await verifyBytes(store, prefix, [described])).toEqual([
      `large: bytes ${String(PART_BYTES)} to ${String(PART_BYTES + 4)} do not match their digest`,
    ]);
  });

  it('and one that fails leaves no upload behind', async () => {
    const { endpoint } = (proxy = await startFaultyProxy(server.current.endpoint, ({ method }) =>
      method === 'PUT' ? 500 : 'pass',
    ));
    const faulty = server.current.connect({ endpoint, maxAttempts: 1 });
    await expect(uploadFile(faulty, prefix, 'large', { file: await largeFile() })).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(await uploadsBelow(prefix)).toEqual([]);
  });

  it.each(['', 'small'])('small and empty files too: %j', async (text) => {
    const data = Buffer.from(text);
    const stored = await uploadFile(store, prefix, 'small', data);
    expect(stored).toEqual(describeBytes('small', data));
    expect(await downloadFiles(store, prefix, [stored], scratch)).toEqual([]);
    expect(await readFile(path.join(scratch, 'small'), 'utf8')).toBe(text);
  });
});

describe('transfers are parallel, within bounds', () => {
  it('runs no more at once than allowed, and keeps the order of results', async () => {
    let running = 0;
    let most = 0;
    const results = await mapConcurrently([...Array(40).keys()], 4, async (item) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise(setImmediate);
      running -= 1;
      return item * 2;
    });
    expect(most).toBe(4);
    expect(results).toEqual([...Array(40).keys()].map((item) => item * 2));
  });

  it('begins nothing new after a failure, and ends only when nothing runs any more', async () => {
    const begun: number[] = [];
    const ended: number[] = [];
    const work = mapConcurrently([...Array(40).keys()], 4, async (item) => {
      begun.push(item);
      await new Promise(setImmediate);
      ended.push(item);
      if (item === 1) throw new Error('no more');
    });
    await expect(work).rejects.toThrow('no more');
    expect(begun.length).toBeLessThan(9);
    expect(ended.sort()).toEqual(begun.sort());
  });

  it('asks the store for no more than four things at once', async () => {
    proxy = await startFaultyProxy(server.current.endpoint, () => 'pass');
    const through = server.current.connect({ endpoint: proxy.endpoint });
    const files = [];
    for (let index = 0; index < 24; index += 1) {
      files.push(await uploadFile(store, prefix, `file-${String(index)}`, Buffer.from('x')));
    }
    expect(await verifyStored(through, prefix, files)).toEqual([]);
    expect(proxy.mostAtOnce()).toBeLessThanOrEqual(4);
    expect(proxy.mostAtOnce()).toBeGreaterThan(1);
  });
});

describe('uploads that nobody will finish are aborted', () => {
  async function begin(name: string): Promise<string> {
    const url = `${prefix}/${name}`;
    const { bucket, key } = parseUrl(url);
    const { UploadId: id } = await store.client.send(
      new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }),
    );
    await store.client.send(
      new UploadPartCommand({ Bucket: bucket, Key: key, UploadId: id, PartNumber: 1, Body: 'part' }),
    );
    return url;
  }

  it('those below a prefix that are stale, and no others', async () => {
    const stale = await begin('a/left-behind');
    const fresh = await begin('a/under-way');
    const elsewhere = await begin('b/left-behind');
    const aborted = await abortUploads(store, `${prefix}/a`, ({ url }) => url === stale);
    expect(aborted.map(({ url }) => url)).toEqual([stale]);
    expect((await uploadsBelow(prefix)).map(({ url }) => url).sort()).toEqual([fresh, elsewhere].sort());
  });

  it('told by when they began', async () => {
    await begin('old');
    const from = Date.now() - 3_600_000;
    expect(await abortUploads(store, prefix, ({ startedAt }) => startedAt.getTime() < from)).toEqual([]);
    expect(await abortUploads(store, prefix, ({ startedAt }) => startedAt.getTime() > from)).toHaveLength(1);
    expect(await uploadsBelow(prefix)).toEqual([]);
  });
});
