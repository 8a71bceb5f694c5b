import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { secondsByLabelSchema } from '../../../src/contracts/outcome.js';
import {
  checkChain,
  decodeRecord,
  encodeRecord,
  recordDigest,
  recordName,
  tipProblem,
} from '../../../src/domain/ledger/chain.js';
import type { ChainObject } from '../../../src/domain/ledger/chain.js';
import { attemptSecondsSchema, ledgerEntrySchema } from '../../../src/domain/ledger/records.js';
import type { LedgerRecord } from '../../../src/domain/ledger/records.js';
import { chainOf, changed, entry } from './sample.js';

const five = chainOf([1, 2, 3, 4, 5].map(entry));

function at(objects: readonly ChainObject[], index: number): ChainObject {
  const object = objects[index - 1];
  if (object === undefined) throw new Error(`no record ${index}`);
  return object;
}

/** The five records with one of them replaced. */
function withRecord(index: number, object: ChainObject): ChainObject[] {
  return five.map((one, position) => (position === index - 1 ? object : one));
}

const problemsOf = (objects: readonly ChainObject[]): string[] =>
  checkChain(objects).problems.map(({ object, message }) => `${object} ${message}`);

describe('a record has one form', () => {
  it('whatever the order of its fields', () => {
    const record: LedgerRecord = {
      schema: 'longhaul.ledger/1',
      index: 1,
      id: 'a#1',
      previous: null,
      at: '2026-01-01T00:00:00.000Z',
      entry: {
        type: 'action',
        action: 'pause',
        actor: 'ann',
        actorKind: 'asserted',
        reason: 'r',
        detail: { b: 1, a: [2] },
      },
    };
    const { entry: what, ...rest } = record;
    expect(encodeRecord({ entry: what, ...rest })).toEqual(encodeRecord(record));
    expect(new TextDecoder().decode(encodeRecord(record))).toMatch(/^\{\n "at": .*\n\}\n$/s);
  });

  it('and is read back as it was written, whatever an operator said', () => {
    const texts = fc.string({ minLength: 1, unit: 'grapheme' });
    fc.assert(
      fc.property(texts, texts, fc.dictionary(fc.string(), fc.jsonValue()), (actor, reason, detail) => {
        const record = decodeRecord(at(five, 1).bytes);
        if (typeof record === 'string') throw new Error(record);
        const json: unknown = JSON.parse(JSON.stringify(detail));
        const said = ledgerEntrySchema.parse({
          type: 'action',
          action: 'setBudget',
          actor,
          actorKind: 'asserted',
          reason,
          detail: json,
        });
        const bytes = encodeRecord({ ...record, entry: said });
        const [object] = checkChain([{ name: recordName(1), bytes }]).links;
        expect(object?.record?.entry).toEqual(said);
        expect(problemsOf([{ name: recordName(1), bytes }])).toEqual([]);
      }),
    );
  });

  it('the trainer’s seconds by label are all there', () => {
    expect(Object.keys(attemptSecondsSchema.shape)).toEqual(
      expect.arrayContaining(Object.keys(secondsByLabelSchema.shape)),
    );
  });
});

describe('a chain that nobody touched has no problems', () => {
  it('in whatever order its objects are listed', () => {
    const { problems, tip, links } = checkChain(five.toReversed());
    expect(problems).toEqual([]);
    expect(tip).toEqual({ records: 5, tip: recordDigest(at(five, 5).bytes) });
    expect(links.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5]);
  });

  it('nor has one without records', () => {
    expect(checkChain([])).toEqual({ links: [], tip: { records: 0, tip: null }, problems: [] });
  });

  it('beyond 999,999 records the order is that of the numbers', () => {
    expect(recordName(1_000_000)).toBe('1000000.json');
    const records = [5, 1_000_000, 999_999].map((index) => ({
      name: recordName(index),
      bytes: at(five, 1).bytes,
    }));
    expect(checkChain(records).links.map(({ index }) => index)).toEqual([5, 999_999, 1_000_000]);
  });
});

describe('tampering is noticed, with the object it happened to', () => {
  it('a changed record', () => {
    const forged = changed(at(five, 2), { entry: entry(22) });
    expect(problemsOf(withRecord(2, forged))).toEqual([
      `000003.json follows ${recordDigest(at(five, 2).bytes)}, but 000002.json has the digest ${recordDigest(forged.bytes)}`,
    ]);
  });

  it('a changed record that is the last one: by the tip', () => {
    const forged = changed(at(five, 5), { entry: entry(55) });
    const chain = checkChain(withRecord(5, forged));
    expect(chain.problems).toEqual([]);
    expect(tipProblem(chain, checkChain(five).tip)).toEqual({
      object: '000005.json',
      message: `was rewritten: it had the digest ${recordDigest(at(five, 5).bytes)}, and now has ${recordDigest(forged.bytes)}`,
    });
  });

  it('any changed byte', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (index, where, by) => {
          const bytes = Uint8Array.from(at(five, index).bytes);
          const position = where % bytes.length;
          bytes[position] = (bytes[position] ?? 0) ^ by;
          const chain = checkChain(withRecord(index, { name: recordName(index), bytes }));
          const known = checkChain(five).tip;
          expect(chain.problems.length > 0 || tipProblem(chain, known) !== null).toBe(true);
        },
      ),
    );
  });

  it('the same record in other bytes', () => {
    const spaced = new TextEncoder().encode(
      JSON.stringify(JSON.parse(new TextDecoder().decode(at(five, 5).bytes)), null, 2),
    );
    expect(problemsOf(withRecord(5, { name: recordName(5), bytes: spaced }))).toEqual([
      '000005.json is not in the bytes a record is written in',
    ]);
  });

  it.each([
    ['no JSON', '{', 'is not JSON'],
    ['not UTF-8', Uint8Array.of(0xff), 'is not JSON'],
    ['no record', '{}\n', 'is no ledger record'],
  ])('a record that is %s', (_, content, message) => {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const problems = problemsOf(withRecord(2, { name: recordName(2), bytes }));
    expect(problems).toHaveLength(2);
    expect(problems[0]).toContain(`000002.json ${message}`);
    expect(problems[1]).toContain('000003.json follows');
  });

  it('a removed record', () => {
    const left = five.filter(({ name }) => name !== '000002.json');
    expect(problemsOf(left)).toEqual(['000003.json comes after a gap: 000002.json is missing']);
  });

  it('several removed records, at the start too', () => {
    expect(problemsOf(five.slice(2))).toEqual([
      '000003.json comes after a gap: 000001.json to 000002.json are missing',
    ]);
  });

  it('records that changed places', () => {
    const [second, third] = [at(five, 2), at(five, 3)];
    const swapped = five.map((one) =>
      one === second
        ? { ...third, name: second.name }
        : one === third
          ? { ...second, name: third.name }
          : one,
    );
    const problems = problemsOf(swapped);
    expect(problems).toContain('000002.json carries the number 3: it was moved');
    expect(problems).toContain('000003.json carries the number 2: it was moved');
  });

  it('a record put in between, the later ones renumbered', () => {
    const put = changed(at(five, 2), { id: 'other#1', entry: entry(99) });
    const moved = five.slice(1).map((one, position) => {
      const index = position + 3;
      return { ...changed(one, { index }), name: recordName(index) };
    });
    const problems = problemsOf([at(five, 1), put, ...moved]);
    expect(problems[0]).toContain('000003.json follows');
  });

  it('a record that is there twice', () => {
    const again = changed(at(five, 5), { index: 6, previous: recordDigest(at(five, 5).bytes) });
    expect(problemsOf([...five, { ...again, name: recordName(6) }])).toEqual([
      '000006.json has the id of 000005.json: ns/run/run-id#5',
    ]);
  });

  it('records cut off at the end: by the tip', () => {
    const chain = checkChain(five.slice(0, 3));
    expect(chain.problems).toEqual([]);
    expect(tipProblem(chain, checkChain(five).tip)).toEqual({
      object: '000005.json',
      message: 'is missing: the chain had 5 records, and now ends with 000003.json',
    });
    expect(tipProblem(checkChain([]), checkChain(five).tip)?.message).toContain('is empty');
  });

  it('a chain that was rewritten as a whole and is consistent in itself: by the tip', () => {
    const rewritten = checkChain(chainOf([1, 22, 3, 4, 5].map(entry)));
    expect(rewritten.problems).toEqual([]);
    expect(tipProblem(rewritten, checkChain(five).tip)?.message).toContain('was rewritten');
  });

  it('an object that is no record', () => {
    expect(problemsOf([...five, { name: 'notes.txt', bytes: new Uint8Array() }])).toEqual([
      'notes.txt does not belong into a ledger',
    ]);
  });
});

describe('a chain may have grown since its tip was kept', () => {
  it('and still holds what was there then', () => {
    expect(tipProblem(checkChain(five), checkChain(five.slice(0, 3)).tip)).toBeNull();
    expect(tipProblem(checkChain(five), { records: 0, tip: null })).toBeNull();
  });
});
