import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkChain,
  decodeRecord,
  encodeRecord,
  recordDigest,
  tipProblem,
} from '../../src/domain/ledger/chain.js';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { ledgerRecordUrl, runLayout, stageLayout } from '../../src/contracts/layout.js';
import { appendRecord, readChain } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { faultOnce, startFaultyProxy } from '../support/faulty-proxy.js';
import type { Fault, FaultyProxy, SeenRequest } from '../support/faulty-proxy.js';
import { startLyingS3 } from '../support/lying-s3.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
const proxies: FaultyProxy[] = [];
const NOTHING: LedgerTip = { records: 0, tip: null };
let store: ObjectStore;
let chainUrl: string;

beforeEach(() => {
  store = server.current.connect();
  chainUrl = runLayout(`${freshPrefix()}/runs/r`).ledger;
});

afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.stop();
});

async function faultyStore(rule: (request: SeenRequest) => Fault, maxAttempts = 1): Promise<ObjectStore> {
  const proxy = await startFaultyProxy(server.current.endpoint, rule);
  proxies.push(proxy);
  return server.current.connect({ endpoint: proxy.endpoint, maxAttempts });
}

const putsRecord = ({ method, path }: SeenRequest): boolean => method === 'PUT' && path.includes('/ledger/');
const entry = (why: string): LedgerEntry => ({ type: 'run-ended', state: 'completed', why });

/** Appends one record after another, each behind the tip of the one before. */
async function append(
  ids: readonly string[],
  to: ObjectStore = store,
  after: LedgerTip = NOTHING,
): Promise<LedgerTip> {
  let tip = after;
  for (const id of ids) {
    const { index, digest } = await appendRecord(to, chainUrl, { id, after: tip, entry: entry(id) });
    tip = { records: index, tip: digest };
  }
  return tip;
}

async function idsInStore(): Promise<string[]> {
  return (await readChain(store, chainUrl)).map(({ bytes }) => {
    const record = decodeRecord(bytes);
    return typeof record === 'string' ? record : record.id;
  });
}

async function problems(known: LedgerTip = NOTHING): Promise<string[]> {
  const chain = checkChain(await readChain(store, chainUrl));
  const tip = tipProblem(chain, known);
  return [...chain.problems, ...(tip === null ? [] : [tip])].map(
    ({ object, message }) => `${object} ${message}`,
  );
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `a#${index + 1}`);

describe('records are appended one behind the other', () => {
  it('each with the digest of the one before', async () => {
    const tip = await append(numbered(5));
    expect(tip.records).toBe(5);
    expect(await problems(tip)).toEqual([]);
    expect(await idsInStore()).toEqual(numbered(5));
  });

  it('where the layout says, of the run and of a stage alike', () => {
    expect(ledgerRecordUrl(runLayout('s3://bucket/runs/r').ledger, 7)).toBe(
      's3://bucket/runs/r/ledger/000007.json',
    );
    expect(ledgerRecordUrl(stageLayout('s3://bucket/runs/r/stages/01-a').ledger, 7)).toBe(
      's3://bucket/runs/r/stages/01-a/ledger/000007.json',
    );
  });

  it('behind what is there when the caller knows of nothing', async () => {
    await append(['a#1', 'a#2']);
    await append(['b#1']);
    expect(await idsInStore()).toEqual(['a#1', 'a#2', 'b#1']);
    expect(await problems()).toEqual([]);
  });

  it('with one request each, however long the chain', async () => {
    const tip = await append(numbered(3));
    let requests = 0;
    const counting = await faultyStore(() => {
      requests += 1;
      return 'pass';
    });
    await append(['b#1', 'b#2'], counting, tip);
    expect(requests).toBe(2);
  });

  it('what is no record is refused before anything is written', async () => {
    const bad = { type: 'run-ended', state: '', why: '' } as const;
    await expect(appendRecord(store, chainUrl, { id: 'a#1', after: NOTHING, entry: bad })).rejects.toThrow(
      'state',
    );
    expect(await readChain(store, chainUrl)).toEqual([]);
  });
});

describe('an append that is repeated leaves one record', () => {
  it('with the tip it had the first time, with a later one, with none', async () => {
    const first = await append(['a#1']);
    const second = await append(['a#2'], store, first);
    await append(['b#1'], store, second);
    for (const after of [first, NOTHING]) {
      const again = await appendRecord(store, chainUrl, { id: 'a#2', after, entry: entry('said otherwise') });
      expect(again).toEqual({ index: 2, digest: second.tip });
    }
    expect(await idsInStore()).toEqual(['a#1', 'a#2', 'b#1']);
  });

  // With one try the client reports a broken connection, with more it repeats the write and gets a 412.
  it.each([1, 4])(
    'although the answer to the first try was lost (%i tries by the client)',
    async (maxAttempts) => {
      const faulty = await faultyStore(faultOnce('lose-answer', putsRecord), maxAttempts);
      const tip = await append(['a#1', 'a#2'], faulty);
      expect(tip.records).toBe(2);
      expect(await idsInStore()).toEqual(['a#1', 'a#2']);
      expect(await problems(tip)).toEqual([]);
    },
  );

  it('although the answer was lost and somebody else wrote meanwhile', async () => {
    const tip = await append(['a#1']);
    await append(['b#1'], store, tip);
    const faulty = await faultyStore(faultOnce('lose-answer', putsRecord, 2));
    await append(['a#2'], faulty, tip);
    expect(await idsInStore()).toEqual(['a#1', 'b#1', 'a#2']);
    expect(await problems()).toEqual([]);
  });

  it.each(['reset', 500, 503, 429] as const)('although tries before it ended with %s', async (fault) => {
    const faulty = await faultyStore(faultOnce(fault, putsRecord, 3));
    expect((await append(['a#1'], faulty)).records).toBe(1);
    expect(await idsInStore()).toEqual(['a#1']);
  });

  it('although the process that made the first try is gone, and another worker repeats it', async () => {
    const tip = await append(numbered(3));
    const lost = await faultyStore(({ method }) => (method === 'PUT' ? 'lose-answer' : 503));
    await expect(append(['x#1'], lost, tip)).rejects.toMatchObject({ code: 'unavailable' });
    expect((await append(['x#1'], server.current.connect(), tip)).records).toBe(4);
    expect(await idsInStore()).toEqual([...numbered(3), 'x#1']);
  });

  it('a store that does not answer is "unavailable", and nothing is recorded twice once it does', async () => {
    const down = await faultyStore(() => 503);
    await expect(append(['a#1'], down)).rejects.toMatchObject({ code: 'unavailable' });
    await append(['a#1']);
    expect(await idsInStore()).toEqual(['a#1']);
  });
});

describe('appenders that race lose nothing', () => {
  it('eight of them, ten records each, whatever tip they know', async () => {
    const start = await append(['start#1']);
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    await Promise.all(
      names.map(async (name, index) => {
        const own = Array.from({ length: 10 }, (_, number) => `${name}#${number + 1}`);
        await append(own, server.current.connect(), index % 2 === 0 ? start : NOTHING);
      }),
    );
    const ids = await idsInStore();
    expect(ids).toHaveLength(81);
    expect(new Set(ids).size).toBe(81);
    for (const name of names) {
      const own = ids.filter((id) => id.startsWith(`${name}#`));
      expect(own).toEqual(Array.from({ length: 10 }, (_, number) => `${name}#${number + 1}`));
    }
    expect(await problems()).toEqual([]);
  });

  it('two workers that append the same record', async () => {
    const tip = await append(['a#1']);
    const both = await Promise.all([
      append(['a#2'], store, tip),
      append(['a#2'], server.current.connect(), tip),
    ]);
    expect(both[0]).toEqual(both[1]);
    expect(await idsInStore()).toEqual(['a#1', 'a#2']);
  });

  it('through a proxy that loses every third answer', async () => {
    let requests = 0;
    const flaky = await faultyStore(({ method }) => {
      requests += 1;
      return method === 'PUT' && requests % 3 === 0 ? 'lose-answer' : 'pass';
    });
    const ids = ['a', 'b', 'c'].map((name) =>
      Array.from({ length: 8 }, (_, number) => `${name}#${number + 1}`),
    );
    await Promise.all(ids.map((own) => append(own, flaky)));
    expect((await idsInStore()).toSorted()).toEqual(ids.flat().toSorted());
    expect(await problems()).toEqual([]);
  });

  it('a store whose conditional writes do not hold loses a record, and the tip tells', async () => {
    const lying = await startLyingS3('ignores-if-none-match');
    try {
      const liar = server.current.connect({ endpoint: lying.endpoint, maxAttempts: 1 });
      const url = 's3://longhaul-test/runs/r/ledger';
      const tips = [];
      for (const id of ['a#1', 'b#1']) {
        const { index, digest } = await appendRecord(liar, url, {
          id,
          after: { records: 3, tip: recordDigest(new Uint8Array()) },
          entry: entry(id),
        });
        tips.push({ records: index, tip: digest });
      }
      const left = (await liar.get(ledgerRecordUrl(url, 4))).data;
      const chain = checkChain([{ name: '000004.json', bytes: left }]);
      const told = tips.map((tip) => tipProblem(chain, tip)?.message.slice(0, 13) ?? 'whole');
      expect(told).toEqual(['was rewritten', 'whole']);
    } finally {
      await lying.stop();
    }
  });
});

describe('what is done to the objects is noticed', () => {
  let tip: LedgerTip;

  beforeEach(async () => {
    tip = await append(numbered(5));
  });

  const url = (index: number): string => ledgerRecordUrl(chainUrl, index);
  const read = async (index: number): Promise<Uint8Array> => (await store.get(url(index))).data;

  it('a changed record', async () => {
    const text = new TextDecoder().decode(await read(3)).replace('"completed"', '"failed"');
    await store.put(url(3), new TextEncoder().encode(text));
    expect((await problems(tip))[0]).toMatch(
      /^000004\.json follows sha256:.*, but 000003\.json has the digest/,
    );
  });

  it('a removed record', async () => {
    await store.delete([url(2)]);
    expect(await problems(tip)).toEqual(['000003.json comes after a gap: 000002.json is missing']);
  });

  it('records that changed places', async () => {
    const [second, third] = [await read(2), await read(3)];
    await store.put(url(2), third);
    await store.put(url(3), second);
    expect(await problems(tip)).toContain('000002.json carries the number 3: it was moved');
  });

  it('a record put in between', async () => {
    for (const index of [5, 4, 3]) await store.put(url(index + 1), await read(index));
    expect((await problems(tip)).length).toBeGreaterThan(0);
  });

  it('records cut off at the end', async () => {
    await store.delete([url(4), url(5)]);
    expect(await problems(tip)).toEqual([
      '000005.json is missing: the chain had 5 records, and now ends with 000003.json',
    ]);
  });

  it('a chain rewritten from one record on, consistent in itself', async () => {
    await rewrite(2);
    expect(await problems()).toEqual([]);
    expect((await problems(tip))[0]).toMatch(/^000005\.json was rewritten/);
  });

  it('a chain rewritten while the run goes on: the next append does not make it whole', async () => {
    await rewrite(2);
    const next = await append(['a#6'], store, tip);
    expect((await problems(next))[0]).toMatch(/^000006\.json follows/);
  });

  it('a chain cut off while the run goes on: the next append does not hide it', async () => {
    await store.delete([url(4), url(5)]);
    const next = await append(['a#6'], store, tip);
    expect(await problems(next)).toEqual([
      '000006.json comes after a gap: 000004.json to 000005.json are missing',
    ]);
  });

  /** Writes another history from this record on, every digest right. */
  async function rewrite(from: number): Promise<void> {
    let previous = recordDigest(await read(from - 1));
    for (let index = from; index <= 5; index += 1) {
      const record = decodeRecord(await read(index));
      if (typeof record === 'string') throw new Error(record);
      const bytes = encodeRecord({ ...record, previous, entry: entry(`another ${index}`) });
      await store.put(url(index), bytes);
      previous = recordDigest(bytes);
    }
  }
});

describe('reading', () => {
  it('a thousand records, in order', async () => {
    let previous: string | null = null;
    for (let index = 1; index <= 1100; index += 1) {
      const at = new Date().toISOString();
      const bytes: Uint8Array = encodeRecord({
        schema: 'longhaul.ledger/1',
        index,
        id: `a#${index}`,
        previous,
        at,
        entry: entry(''),
      });
      await store.put(ledgerRecordUrl(chainUrl, index), bytes);
      previous = recordDigest(bytes);
    }
    expect(await problems({ records: 1100, tip: previous })).toEqual([]);
    expect((await append(['b#1'])).records).toBe(1101);
  });

  it('a prefix without records is an empty chain, a store in trouble is not', async () => {
    expect(await readChain(store, chainUrl)).toEqual([]);
    const down = await faultyStore(() => 503);
    await expect(readChain(down, chainUrl)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
