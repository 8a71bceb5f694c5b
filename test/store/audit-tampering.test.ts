/** Whoever may write to the store changes one object of a finished run: of whichever kind it is, the audit names it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RUN_OBJECT_NAMES, runObjectOf } from '../../src/contracts/layout.js';
import type { RunObject } from '../../src/contracts/layout.js';
import type { ObjectStore } from '../../src/store/index.js';
import { checkNamed, useRunUnderAudit } from './audit-support.js';

const under = useRunUnderAudit();

/** Kinds that nothing of the run stands or falls with; they are named, and no difference. */
const NAMED: ReadonlySet<RunObject> = new Set(['foreign-pin', 'drill']);
const KINDS = RUN_OBJECT_NAMES.filter((kind) => !NAMED.has(kind));

/** What is done to an object. */
const TAMPERINGS = {
  'a flipped bit': (bytes: Uint8Array): Uint8Array => {
    const middle = Math.floor(bytes.length / 2);
    return bytes.with(middle, (bytes[middle] ?? 0) ^ 1);
  },
  'something appended': (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, Buffer.from(' ')]),
  'nothing left in it': (): Uint8Array => new Uint8Array(),
  'the first key said twice': (bytes: Uint8Array): Uint8Array => {
    const text = Buffer.from(bytes).toString();
    return Buffer.from(text.replace(/^\{(\s*"[^"]+":)/, '{$1 0,$1'));
  },
  deleted: (): null => null,
} as const satisfies Record<string, (bytes: Uint8Array) => Uint8Array | null>;
type Tampering = keyof typeof TAMPERINGS;
const TAMPERING_NAMES: readonly Tampering[] = [
  'a flipped bit',
  'something appended',
  'nothing left in it',
  'the first key said twice',
  'deleted',
];

async function pathsOf(store: ObjectStore, runUrl: string): Promise<Map<RunObject, string[]>> {
  const paths = new Map<RunObject, string[]>();
  for await (const { url } of store.list(runUrl)) {
    const kind = runObjectOf(url.slice(runUrl.length + 1));
    if (kind !== null) paths.set(kind, [...(paths.get(kind) ?? []), url]);
  }
  return paths;
}

/** Tampers with an object, audits, and puts it back. */
async function differencesAfter(url: string, tampering: Tampering): Promise<string[] | null> {
  const { store } = under.current;
  const { data } = await store.get(url);
  const changed = TAMPERINGS[tampering](data);
  if (changed !== null && Buffer.compare(changed, data) === 0) return null;
  await (changed === null ? store.delete([url]) : store.put(url, changed));
  try {
    return under.current.differences(await under.current.audit());
  } finally {
    await store.put(url, data);
  }
}

describe('the run that is tampered with', () => {
  it('has objects of every kind that the layout knows, and all are under a digest', async () => {
    const { store, run } = under.current;
    expect([...(await pathsOf(store, run.runUrl)).keys()].sort()).toEqual([...RUN_OBJECT_NAMES].sort());
    const found = await under.current.audit();
    expect(under.current.differences(found)).toEqual([]);
    expect(checkNamed(found, 'objects')).toMatchObject({
      state: 'verified',
      notes: [
        '1 pin of other runs, which may come and go',
        '1 object of a drill, written when the run was over',
      ],
    });
  });
});

describe('an object that is not what it was is named, or the prefix that it is counted in', () => {
  it.each(KINDS)('%s', async (kind) => {
    const { store, run } = under.current;
    const urls = (await pathsOf(store, run.runUrl)).get(kind) ?? [];
    const url = urls[Math.floor(urls.length / 2)];
    if (url === undefined) throw new Error(`the run has no ${kind}`);
    const path = url.slice(run.runUrl.length + 1);
    const names = [path, path.replace(/\/[^/]+$/, ''), path.replace(/(\/[^/]+){2}$/, '')];
    for (const tampering of TAMPERING_NAMES) {
      const found = await differencesAfter(url, tampering);
      // What is not changed by it (a text has no keys) is no test of it.
      const isNamed = found?.some((text) => names.some((name) => text.includes(name))) ?? true;
      expect([kind, tampering, isNamed, found]).toEqual([kind, tampering, true, found]);
    }
  });
});

describe('an object that was not there', () => {
  it('is named wherever it is put', async () => {
    const { store, run } = under.current;
    const folders = new Set<string>();
    for await (const { url } of store.list(run.runUrl)) folders.add(url.replace(/\/[^/]+$/, ''));
    const name = fc.constantFrom(
      'pytorch_model.bin',
      'x.json',
      '000099.json',
      'spec-7.json',
      'quarantine.json',
      'a/b',
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...folders), name, async (folder, added) => {
        const url = `${folder}/${added}`;
        if (await store.exists(url)) return;
        await store.put(url, Buffer.from('{}'));
        const { verdict, checks } = await under.current.audit();
        await store.delete([url]);
        const objects = checks.find((check) => check.name === 'objects');
        const isNamed = verdict === 'different' || objects?.state === 'not-checked';
        expect([url, isNamed]).toEqual([url, true]);
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});
