import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stageLayout } from '../../src/contracts/layout.js';
import {
  STORE_ANSWERS,
  checkpointRef,
  createEmptyHead,
  encodeJson,
  meaningOf,
  pinCheckpoint,
  readHead,
  verifyCheckpoint,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { faultOnce, htmlPage, startFaultyProxy, storeAnswer } from '../support/faulty-proxy.js';
import type { Fault, FaultyProxy, SeenRequest } from '../support/faulty-proxy.js';
import { claim, commitCheckpoint, freshPrefix, startStage, useS3Server } from './support.js';

const server = useS3Server();
let store: ObjectStore;
let fault: Fault = 'pass';
let rule: (request: SeenRequest) => Fault = () => fault;
let proxy: FaultyProxy;
/** The store behind a proxy that answers as `rule` says. */
let faulty: ObjectStore;

beforeEach(async () => {
  store = server.current.connect();
  fault = 'pass';
  rule = () => fault;
  proxy = await startFaultyProxy(server.current.endpoint, (request) => rule(request));
  faulty = server.current.connect({ endpoint: proxy.endpoint, maxAttempts: 1 });
});

afterEach(async () => {
  faulty.close();
  await proxy.stop();
});

const CODES = Object.entries(STORE_ANSWERS.codes);
const STATUSES = Object.entries(STORE_ANSWERS.statuses);

/** A status that a row of statuses stands for. */
function statusOf(row: string): number {
  if (row === 'any') return 502;
  return row.endsWith('xx') ? Number(row[0]) * 100 + 24 : Number(row);
}

describe('an answer means what the table says, to every kind of request', () => {
  it.each(CODES)('%s', async (code, { status = 0, class: answerClass, remedy }) => {
    const url = `${freshPrefix()}/object.json`;
    await store.put(url, encodeJson({}));
    const { etag } = await store.head(url);
    fault = storeAnswer(status, code);
    const expected = {
      code: answerClass,
      remedy: remedy ?? STORE_ANSWERS.classes[answerClass].remedy,
      message: `${url}: the store answered ${String(status)} ${code}`,
    };
    await expect(faulty.get(url)).rejects.toMatchObject(expected);
    const headClass = answerClass === 'out-of-range' ? meaningOf(status, '').class : answerClass;
    await expect(faulty.head(url)).rejects.toMatchObject({ code: headClass });
    await expect(faulty.replace(url, encodeJson({ new: true }), etag)).rejects.toMatchObject(expected);
  });

  it.each(STATUSES.flatMap(([row, meaning]) => [true, false].map((tidy) => [row, tidy, meaning] as const)))(
    'a page with status %s that no store has written (parses as XML: %s)',
    async (row, tidy, { class: answerClass }) => {
      const url = `${freshPrefix()}/object.json`;
      fault = htmlPage(statusOf(row), tidy);
      await expect(faulty.get(url)).rejects.toMatchObject({ code: answerClass });
      await expect(faulty.head(url)).rejects.toMatchObject({ code: answerClass });
      await expect(faulty.put(url, encodeJson({}))).rejects.toMatchObject({ code: answerClass });
    },
  );

  it('a code that the table does not know is judged by its status', async () => {
    fault = storeAnswer(404, 'NoSuchThing');
    await expect(faulty.get(`${freshPrefix()}/a`)).rejects.toMatchObject({ code: 'unavailable' });
    fault = storeAnswer(404, 'constructor');
    await expect(faulty.get(`${freshPrefix()}/a`)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('every class has something that an operator can do', () => {
    for (const { remedy, meaning } of Object.values(STORE_ANSWERS.classes)) {
      expect(remedy.length).toBeGreaterThan(20);
      expect(meaning).not.toBe('');
    }
  });
});

describe("only the store's own word says that something is gone", () => {
  const PAGES = [htmlPage(404, true), htmlPage(404, false), { status: 404, body: '' }];

  it.each(PAGES)('a missing HEAD is not seen in %o', async (page) => {
    const stageUrl = await startStage(store);
    fault = page;
    await expect(readHead(faulty, stageUrl)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(createEmptyHead(faulty, stageUrl)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it.each(PAGES)('nor a lost file of a checkpoint', async (page) => {
    const stageUrl = await startStage(store);
    const commit = await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 3);
    rule = ({ path }) => (path.endsWith('.safetensors') ? page : 'pass');
    for (const level of ['stored', 'audited'] as const) {
      const verified = verifyCheckpoint(faulty, checkpointRef(stageUrl, commit), level);
      await expect(verified).rejects.toMatchObject({ code: 'unavailable' });
    }
  });

  it('a HEAD request is believed a 404 only when a GET confirms it', async () => {
    const url = `${freshPrefix()}/object.json`;
    expect(await faulty.exists(url)).toBe(false);
    await store.put(url, encodeJson({}));
    rule = ({ method }) => (method === 'HEAD' ? htmlPage(404, true) : 'pass');
    await expect(faulty.exists(url)).rejects.toMatchObject({ code: 'unavailable' });
    await store.put(url, new Uint8Array());
    await expect(faulty.exists(url)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a portal’s page is no object, no empty listing and no write', async () => {
    const prefix = freshPrefix();
    fault = htmlPage(200, true);
    await expect(faulty.get(`${prefix}/a`)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(faulty.head(`${prefix}/a`)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(faulty.put(`${prefix}/a`, encodeJson({}))).rejects.toMatchObject({ code: 'unavailable' });
    await expect(faulty.folders(prefix)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('writers that only met are no lost race', () => {
  const isPin = ({ method, path }: SeenRequest): boolean => method === 'PUT' && path.includes('/pins/');

  it.each([storeAnswer(409, 'ConditionalRequestConflict'), storeAnswer(412, 'PreconditionFailed')])(
    'a pin exists after the store answered %o to it and nothing was there',
    async (answer) => {
      const stageUrl = await startStage(store);
      const commit = await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 3);
      rule = faultOnce(answer, isPin, 2);
      await pinCheckpoint(faulty, checkpointRef(stageUrl, commit), { name: 'result', reason: 'it is one' });
      expect(await store.exists(stageLayout(stageUrl).pin(commit.id, 'result'))).toBe(true);
    },
  );

  it('a pin that cannot be made is not passed over', async () => {
    const stageUrl = await startStage(store);
    const commit = await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 3);
    rule = (request) => (isPin(request) ? storeAnswer(409, 'ConditionalRequestConflict') : 'pass');
    const pinned = pinCheckpoint(faulty, checkpointRef(stageUrl, commit), {
      name: 'result',
      reason: 'it is',
    });
    await expect(pinned).rejects.toMatchObject({ code: 'unavailable' });
  });
});
