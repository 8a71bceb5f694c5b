/** Long documents cut into pieces of exactly the lengths of a mix's parts. No token is in two pieces. */
import type { Recipe } from '../../domain/recipe/schema.js';
import { mix32 } from './permutation.js';
import { OffsetList } from '../tokens/spool.js';
import type { Spool, SpooledDocument } from '../tokens/spool.js';

/** What a part of a mix wants of the long documents of its domain. */
export interface LongPart {
  readonly lengthTokens: number;
  /** How much text its rows take: its weight among parts of other lengths. */
  readonly tokens: number;
  /** Where the list of its pieces is kept. */
  readonly file: string;
}

/** How documents are shared out among lengths. */
export type CutRule = Recipe['data']['cut'];

/**
 * Cuts documents for all parts of a domain. Documents shorter than every part are dropped, and so is what is left at the end of a
 * document.
 * @returns per part the offsets of its pieces, in the order of the documents.
 */
export function cutIntoUnits(spool: Spool, parts: readonly LongPart[], rule: CutRule): OffsetList[] {
  const lists = parts.map((part) => new OffsetList(part.file));
  const ranked = parts
    .map((part, index) => ({ ...part, list: lists[index] }))
    .sort((a, b) => b.lengthTokens - a.lengthTokens);
  const add = (rank: number, offset: number): void => ranked[rank]?.list?.add(offset);
  if (rule === 'by-share') cutByShare(spool, ranked, add);
  else cutLongestFirst(spool, ranked, add);
  for (const list of lists) list.seal();
  return lists;
}

/** Takes a piece for the part of this rank, the longest being 0. */
type Add = (rank: number, offset: number) => void;

/** Bins that hashes are counted in, to find out how many lie below a limit. */
const BINS = 2 ** 16;

/**
 * Longest first: every stretch of the longest length is the longest part's, what is left of a document the next part's, and so on,
 * as ProLong's tool cuts. Only where the longest part has more such stretches than its rows take are the others cut shorter, by
 * hash: text that it wouldn't use is not kept from the shorter parts.
 */
function cutLongestFirst(spool: Spool, ranked: readonly LongPart[], add: Add): void {
  const limits: number[] = [];
  for (let rank = 0; rank + 1 < ranked.length; rank++) {
    const counts = new Uint32Array(BINS);
    visitStretches(spool, ranked, (at, _, bin) => {
      if (at === rank) counts[bin] = (counts[bin] ?? 0) + 1;
      return at === rank || bin < (limits[at] ?? BINS);
    });
    const { tokens = 0, lengthTokens = 1 } = ranked[rank] ?? {};
    limits.push(limitFor(counts, Math.ceil(tokens / lengthTokens)));
  }
  visitStretches(spool, ranked, (rank, offset, bin) => {
    if (bin >= (limits[rank] ?? BINS)) return false;
    add(rank, offset);
    return true;
  });
}

/** The lowest bin such that those before it hold what is wanted; beyond all bins where there isn't that much. */
function limitFor(counts: Uint32Array, wanted: number): number {
  let sum = 0;
  const bin = counts.findIndex((count) => (sum += count) >= wanted);
  return bin === -1 ? BINS : bin + 1;
}

/** @returns whether the stretch stays whole; else it is offered to shorter parts. */
type Visit = (rank: number, offset: number, bin: number) => boolean;

function visitStretches(spool: Spool, ranked: readonly LongPart[], visit: Visit): void {
  const visitIn = (document: SpooledDocument, from: number, to: number, rank: number): void => {
    const length = ranked[rank]?.lengthTokens;
    if (length === undefined) return;
    let start = from;
    for (; start + length <= to; start += length) {
      const bin = mix32(document.choice, start - document.offset) % BINS;
      if (!visit(rank, start, bin)) visitIn(document, start, start + length, rank + 1);
    }
    visitIn(document, start, to, rank + 1);
  };
  for (let index = 0; index < spool.size.documents; index++) {
    const document = spool.document(index);
    visitIn(document, document.offset, document.offset + document.lengthTokens, 0);
  }
}

/**
 * By share: a stretch as long as the longest part goes to a part chosen by the document's hash, in proportion to what the parts
 * want; what is left at the end of a document goes to the longest part it suffices for.
 */
function cutByShare(spool: Spool, ranked: readonly LongPart[], add: Add): void {
  const lengthOf = (rank: number): number => ranked[rank]?.lengthTokens ?? 0;
  const stretch = lengthOf(0);
  for (let index = 0; index < spool.size.documents; index++) {
    const { offset, lengthTokens, choice } = spool.document(index);
    let start = offset;
    const end = offset + lengthTokens;
    for (let block = 0; start < end; block++) {
      const chosen = end - start >= stretch ? weightedChoice(ranked, mix32(choice, block)) : undefined;
      const rank = chosen ?? ranked.findIndex((part) => part.lengthTokens <= end - start);
      if (rank === -1) break;
      const limit = Math.min(end, start + stretch);
      for (; start + lengthOf(rank) <= limit; start += lengthOf(rank)) add(rank, start);
      if (chosen !== undefined) start = limit;
    }
  }
}

function weightedChoice(parts: readonly LongPart[], bits: number): number {
  const total = parts.reduce((sum, part) => sum + part.tokens, 0);
  let left = (bits / 2 ** 32) * total;
  const found = parts.findIndex((part) => (left -= part.tokens) < 0);
  return found === -1 ? parts.length - 1 : found;
}
