/** How long documents are shared out among the lengths of a mix. */
import fc from 'fast-check';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cutIntoUnits } from '../../../src/curation/rows/long-pieces.js';
import type { CutRule } from '../../../src/curation/rows/long-pieces.js';
import { Spool, SpoolWriter } from '../../../src/curation/tokens/spool.js';

interface Part {
  readonly lengthTokens: number;
  readonly tokens: number;
}

/** Offsets of the pieces of each part, of documents of these lengths that lie end to end. */
function piecesOf(documents: readonly number[], parts: readonly Part[], rule: CutRule): number[][] {
  const folder = mkdtempSync(join(tmpdir(), 'longhaul-pieces-'));
  try {
    mkdirSync(join(folder, 'lists'));
    const writer = new SpoolWriter(join(folder, 'spool'));
    documents.forEach((length, index) => writer.add(new Uint32Array(length), (index * 2654435761) >>> 0));
    const spool = new Spool(join(folder, 'spool'), writer.close());
    const wanted = parts.map((part, index) => ({ ...part, file: join(folder, 'lists', String(index)) }));
    const lists = cutIntoUnits(spool, wanted, rule);
    const pieces = lists.map((list) => Array.from({ length: list.length }, (_, index) => list.at(index)));
    for (const list of lists) list.close();
    spool.close();
    return pieces;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** ProLong's `--split_by_lengths`: of every document, chunks of the longest length first, then of the next. */
function asProLongCuts(documents: readonly number[], lengths: readonly number[]): number[][] {
  const pieces: number[][] = lengths.map(() => []);
  let offset = 0;
  for (const document of documents) {
    let start = offset;
    for (const length of [...lengths].sort((a, b) => b - a))
      for (; start + length <= offset + document; start += length)
        pieces[lengths.indexOf(length)]?.push(start);
    offset += document;
  }
  return pieces;
}

const LENGTHS = [512, 64, 16];
const corpora = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 60 });
const wants = fc.array(fc.integer({ min: 1, max: 200_000 }), { minLength: 3, maxLength: 3 });
const options = { numRuns: 60 };

describe('longest first', () => {
  test('where long documents are scarce, the pieces are those of ProLong’s tool', () => {
    fc.assert(
      fc.property(corpora, (documents) => {
        const parts = LENGTHS.map((lengthTokens) => ({ lengthTokens, tokens: 1e9 }));
        expect(piecesOf(documents, parts, 'longest-first')).toEqual(asProLongCuts(documents, LENGTHS));
      }),
      options,
    );
  });

  test('by share, they would be cut short: an eighth of the long pieces is kept', () => {
    const documents = Array.from({ length: 40 }, (_, index) => 2048 + 300 * (index % 7));
    const parts = [
      { lengthTokens: 512, tokens: 0.05 * 400 * 512 },
      { lengthTokens: 64, tokens: 0.25 * 400 * 512 },
    ];
    const [long = [], short = []] = piecesOf(documents, parts, 'by-share');
    const [longFirst = [], shortFirst = []] = piecesOf(
      documents,
      parts.map((part) => ({ ...part, tokens: part.tokens * 100 })),
      'longest-first',
    );
    expect(longFirst.length).toBeGreaterThan(4 * long.length);
    expect(shortFirst.length).toBeLessThan(short.length / 4);
  });

  test('a length gets what its rows want wherever it is there, and keeps no more than that from the shorter ones', () => {
    fc.assert(
      fc.property(corpora, wants, (documents, tokens) => {
        const parts = LENGTHS.map((lengthTokens, index) => ({ lengthTokens, tokens: tokens[index] ?? 1 }));
        const pieces = piecesOf(documents, parts, 'longest-first');
        const available = asProLongCuts(documents, [512])[0]?.length ?? 0;
        const wanted = Math.ceil((tokens[0] ?? 1) / 512);
        const taken = pieces[0]?.length ?? 0;
        expect(taken).toBeGreaterThanOrEqual(Math.min(available, wanted));
        // A bin of the hash is taken whole.
        expect(taken).toBeLessThanOrEqual(Math.min(available, wanted + 2));
      }),
      options,
    );
  });
});

describe.each(['longest-first', 'by-share'] as const)('%s', (rule) => {
  test('no token is in two pieces, and no piece reaches beyond its document', () => {
    fc.assert(
      fc.property(corpora, wants, (documents, tokens) => {
        const parts = LENGTHS.map((lengthTokens, index) => ({ lengthTokens, tokens: tokens[index] ?? 1 }));
        const bounds = piecesOf(documents, parts, rule)
          .flatMap((starts, part) => starts.map((start) => [start, start + (LENGTHS[part] ?? 0)] as const))
          .sort(([a], [b]) => a - b);
        const ends = documents.reduce<number[]>((sums, length) => [...sums, (sums.at(-1) ?? 0) + length], []);
        bounds.forEach(([start, end], index) => {
          expect(start).toBeGreaterThanOrEqual(bounds[index - 1]?.[1] ?? 0);
          expect(end).toBeLessThanOrEqual(ends.find((one) => one > start) ?? 0);
        });
      }),
      options,
    );
  });
});
