import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkpointRef,
  createEmptyHead,
  encodeJson,
  newestVerified,
  openAttempt,
  readHead,
  readQuarantine,
  verifyCheckpoint,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { faultOnce, startFaultyProxy } from '../support/faulty-proxy.js';
import type { Fault, FaultyProxy, SeenRequest } from '../support/faulty-proxy.js';
import { NOBODY } from '../support/s3-server.js';
import { claim, commitCheckpoint, freshPrefix, startStage, useS3Server } from './support.js';

const server = useS3Server();
const proxies: FaultyProxy[] = [];
let store: ObjectStore;

beforeEach(() => {
  store = server.current.connect();
});

afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.stop();
});

async function faultyStore(rule: (request: SeenRequest) => Fault, maxAttempts = 1): Promise<ObjectStore> {
  const proxy = await startFaultyProxy(server.current.endpoint, rule);
  proxies.push(proxy);
  return server.current.connect({ endpoint: proxy.endpoint, maxAttempts });
}

const putsHead = ({ method, path }: SeenRequest): boolean => method === 'PUT' && path.endsWith('/HEAD');

describe('a write whose answer was lost is recognised by reading again', () => {
  // With one try the client reports a broken connection, with more it repeats the write and gets a 412.
  it.each([1, 4])('a claim that landed is the claim (%i tries by the client)', async (maxAttempts) => {
    const stageUrl = await startStage(store);
    const faulty = await faultyStore(faultOnce('lose-answer', putsHead), maxAttempts);
    const { epoch } = await openAttempt(faulty, { stageUrl, owner: 'a' });
    const { value: head } = await readHead(store, stageUrl);
    expect([epoch, head.epoch, head.owner]).toEqual([1, 1, 'a']);
  });

  it('a claim that did not land is made again', async () => {
    const stageUrl = await startStage(store);
    const faulty = await faultyStore(faultOnce('reset', putsHead, 3));
    expect((await openAttempt(faulty, { stageUrl, owner: 'a' })).epoch).toBe(1);
  });

  it.each([1, 4])(
    'an object that was created is the own one (%i tries by the client)',
    async (maxAttempts) => {
      const url = `${freshPrefix()}/object.json`;
      const faulty = await faultyStore(
        faultOnce('lose-answer', ({ method }) => method === 'PUT'),
        maxAttempts,
      );
      await faulty.create(url, encodeJson({ mine: true }));
      await expect(faulty.create(url, encodeJson({ mine: false }))).rejects.toMatchObject({
        code: 'precondition-failed',
      });
    },
  );

  it('an empty HEAD is there once', async () => {
    const stageUrl = `${freshPrefix()}/stage`;
    const faulty = await faultyStore(faultOnce('lose-answer', putsHead));
    const head = await createEmptyHead(faulty, stageUrl);
    expect((await readHead(store, stageUrl)).value).toEqual(head);
  });
});

describe("the store's trouble is no evidence about what it holds", () => {
  const troubles: Fault[] = [500, 503, 429, 'reset', 'cut-answer'];

  it.each(troubles)('an answer of %s to a read is "unavailable"', async (fault) => {
    const url = `${freshPrefix()}/object.json`;
    await store.put(url, encodeJson({ some: 'text' }));
    const faulty = await faultyStore(() => fault);
    await expect(faulty.get(url)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(faulty.find(url)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it.each(troubles)('an answer of %s to a checkpoint’s file quarantines nothing', async (fault) => {
    const stageUrl = await startStage(store);
    const epoch = await claim(store, stageUrl);
    const commit = await commitCheckpoint(store, stageUrl, epoch, 3);
    const faulty = await faultyStore(({ path }) => (path.endsWith('.safetensors') ? fault : 'pass'));
    const unavailable = { code: 'unavailable' };
    const ref = checkpointRef(stageUrl, commit);
    await expect(verifyCheckpoint(faulty, ref, 'audited')).rejects.toMatchObject(unavailable);
    await expect(newestVerified(faulty, stageUrl, 'audited', epoch)).rejects.toMatchObject(unavailable);
    expect(await readQuarantine(store, stageUrl, commit.id)).toBeNull();
  });

  it('a store that does not answer at all is "unavailable"', async () => {
    const nobody = server.current.connect({ endpoint: NOBODY, maxAttempts: 1 });
    await expect(nobody.get(`${freshPrefix()}/a`)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a store that takes a request and then says nothing is "unavailable"', async () => {
    const proxy = await startFaultyProxy(server.current.endpoint, () => 'hang');
    proxies.push(proxy);
    const silent = server.current.connect({ endpoint: proxy.endpoint, maxAttempts: 1, idleMs: 300 });
    await expect(silent.get(`${freshPrefix()}/a`)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a store that begins an object and then says nothing is "unavailable"', async () => {
    const url = `${freshPrefix()}/object.bin`;
    await store.put(url, randomBytes(3 * 2 ** 20));
    const proxy = await startFaultyProxy(server.current.endpoint, () => 'stall-answer');
    proxies.push(proxy);
    const stalling = server.current.connect({ endpoint: proxy.endpoint, maxAttempts: 1, idleMs: 300 });
    await expect(stalling.get(url)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a bucket that is not there is no missing object', async () => {
    await expect(store.find('s3://no-such-bucket/HEAD')).rejects.toMatchObject({ code: 'wrong-address' });
  });

  it('a HEAD that cannot be read is not missing', async () => {
    const stageUrl = await startStage(store);
    const faulty = await faultyStore(({ path }) => (path.endsWith('/HEAD') ? 503 : 'pass'));
    await expect(readHead(faulty, stageUrl)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(createEmptyHead(faulty, stageUrl)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('one bad read on the way is not the object’s: only two that disagree count', async () => {
    const stageUrl = await startStage(store);
    const commit = await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 3);
    const ref = checkpointRef(stageUrl, commit);
    for (const name of ['model.safetensors', 'manifest.json']) {
      const isIt = ({ path }: SeenRequest): boolean => path.endsWith(name);
      const once = await faultyStore(faultOnce('corrupt-answer', isIt));
      expect((await verifyCheckpoint(once, ref, 'audited')).problems).toEqual([]);
      const twice = await faultyStore(faultOnce('corrupt-answer', isIt, 2));
      expect((await verifyCheckpoint(twice, ref, 'audited')).problems).toHaveLength(1);
    }
  });

  it('what was written while the store was in trouble is what stands in HEAD after it', async () => {
    const stageUrl = await startStage(store);
    let requests = 0;
    const flaky = await faultyStore(({ method }) => {
      requests += 1;
      return method === 'PUT' && requests % 3 !== 0 ? 503 : 'pass';
    });
    const { head } = await openAttempt(flaky, { stageUrl, owner: 'a' });
    expect((await readHead(store, stageUrl)).value).toEqual(head);
  });
});
