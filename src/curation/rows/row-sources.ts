/** Rows of one part of a mix, one after the other without end: when the text runs out, it is gone through again in another order. */
import { seededPermutation } from './permutation.js';
import type { LookupDocuments } from './lookups.js';
import type { Row } from '../write/mds.js';
import { OffsetList } from '../tokens/spool.js';
import type { Spool } from '../tokens/spool.js';

/** A row without its domain. */
export type UnnamedRow = Omit<Row, 'domain'>;

/** An endless stream of rows. */
export interface RowSource {
  next(): Promise<UnnamedRow>;
  /** How often its text has been gone through so far; above 1: repeated. */
  passes(): number;
  close(): void;
}

/** Long documents: a row is one piece of the row's length, or several shorter ones, each a document of its own. */
export class PieceRows implements RowSource {
  private readonly order: EndlessOrder;
  private readonly perRow: number;

  constructor(
    private readonly spool: Spool,
    private readonly pieces: OffsetList,
    private readonly lengthTokens: number,
    rowTokens: number,
    seed: string,
  ) {
    this.perRow = rowTokens / lengthTokens;
    this.order = new EndlessOrder(pieces.length, seed);
  }

  next(): Promise<UnnamedRow> {
    const tokens = new Uint32Array(this.perRow * this.lengthTokens);
    const bounds = new Uint32Array(2 * this.perRow);
    for (let piece = 0; piece < this.perRow; piece++) {
      const start = piece * this.lengthTokens;
      const into = tokens.subarray(start, start + this.lengthTokens);
      this.spool.readTokens(this.pieces.at(this.order.next()), into);
      bounds.set([start, start + this.lengthTokens], 2 * piece);
    }
    return Promise.resolve({ tokens, bounds });
  }

  passes(): number {
    return this.order.passes();
  }

  close(): void {
    this.pieces.close();
  }
}

/** Short documents: shuffled and concatenated; what doesn't fit into a row starts the next. */
export class PackedRows implements RowSource {
  private readonly order: EndlessOrder;
  private current = { offset: 0, left: 0 };
  private used = 0;

  constructor(
    private readonly spool: Spool,
    private readonly rowTokens: number,
    seed: string,
  ) {
    this.order = new EndlessOrder(spool.size.documents, seed);
  }

  next(): Promise<UnnamedRow> {
    const tokens = new Uint32Array(this.rowTokens);
    const bounds: number[] = [];
    for (let filled = 0; filled < this.rowTokens;) {
      if (this.current.left === 0) this.take();
      const length = Math.min(this.current.left, this.rowTokens - filled);
      this.spool.readTokens(this.current.offset, tokens.subarray(filled, filled + length));
      bounds.push(filled, filled + length);
      filled += length;
      this.current = { offset: this.current.offset + length, left: this.current.left - length };
    }
    this.used += this.rowTokens;
    return Promise.resolve({ tokens, bounds: Uint32Array.from(bounds) });
  }

  passes(): number {
    return this.used / this.spool.size.tokens;
  }

  close(): void {
    // Its spool belongs to the domain.
  }

  private take(): void {
    const { offset, lengthTokens } = this.spool.document(this.order.next());
    this.current = { offset, left: lengthTokens };
  }
}

/**
 * The dialogues that a row can learn from: those of which a trained token lies within a row's length. A row that starts with
 * any other would have no loss, and yet be a row of a step. It is a list of indices of documents.
 */
export function trainableDialogues(spool: Spool, rowTokens: number, file: string): OffsetList {
  const list = new OffsetList(file);
  const mask = new Uint8Array(rowTokens);
  for (let index = 0; index < spool.size.documents; index++) {
    const { offset, lengthTokens } = spool.document(index);
    const within = mask.subarray(0, Math.min(rowTokens, lengthTokens));
    spool.readMask(offset, within);
    if (within.includes(1)) list.add(index);
  }
  list.seal();
  return list;
}

/** Dialogues: every row starts with one; the one that the row's end cuts loses its tail. */
export class ChatRows implements RowSource {
  private readonly order: EndlessOrder;

  /** @param dialogues indices of documents of the spool, closed with this source */
  constructor(
    private readonly spool: Spool,
    private readonly dialogues: OffsetList,
    private readonly rowTokens: number,
    seed: string,
  ) {
    this.order = new EndlessOrder(dialogues.length, seed);
  }

  next(): Promise<UnnamedRow> {
    const tokens = new Uint32Array(this.rowTokens);
    const mask = new Uint8Array(this.rowTokens);
    const bounds: number[] = [];
    for (let filled = 0; filled < this.rowTokens;) {
      const { offset, lengthTokens } = this.spool.document(this.dialogues.at(this.order.next()));
      const end = Math.min(this.rowTokens, filled + lengthTokens);
      this.spool.readTokens(offset, tokens.subarray(filled, end));
      this.spool.readMask(offset, mask.subarray(filled, end));
      bounds.push(filled, end);
      filled = end;
    }
    return Promise.resolve({ tokens, mask, bounds: Uint32Array.from(bounds) });
  }

  passes(): number {
    return this.order.passes();
  }

  close(): void {
    this.dialogues.close();
  }
}

/** Lookup tables, packed like dialogues, made as they are needed. */
export class LookupRows implements RowSource {
  private made = 0;

  constructor(
    private readonly lookups: LookupDocuments,
    private readonly lengthTokens: number,
    private readonly rowTokens: number,
    private readonly seed: string,
  ) {}

  async next(): Promise<UnnamedRow> {
    const tokens = new Uint32Array(this.rowTokens);
    const bounds: number[] = [];
    for (let start = 0; start < this.rowTokens; start += this.lengthTokens) {
      const limit = start + this.lengthTokens;
      let filled = start;
      for (const document of await this.lookups.row(this.lengthTokens, `${this.seed}/${this.made++}`)) {
        const end = Math.min(limit, filled + document.length);
        tokens.set(document.subarray(0, end - filled), filled);
        bounds.push(filled, end);
        filled = end;
      }
    }
    return { tokens, bounds: Uint32Array.from(bounds) };
  }

  passes(): number {
    return 0;
  }

  close(): void {
    // It holds nothing.
  }
}

/** Two sources in a fixed order. */
export class InterleavedRows implements RowSource {
  constructor(
    private readonly sources: readonly RowSource[],
    private readonly order: Iterator<number, void, undefined>,
  ) {}

  next(): Promise<UnnamedRow> {
    const { value } = this.order.next();
    const source = this.sources[value ?? -1];
    if (source === undefined) throw new Error('more rows were asked for than were planned');
    return source.next();
  }

  passes(): number {
    return Math.max(...this.sources.map((source) => source.passes()));
  }

  close(): void {
    for (const source of this.sources) source.close();
  }
}

/** Indices below a size in seeded order, then all again in another order. */
class EndlessOrder {
  private taken = 0;
  private order: (index: number) => number;

  constructor(
    private readonly size: number,
    private readonly seed: string,
  ) {
    this.order = seededPermutation(size, `${seed}/0`);
  }

  next(): number {
    const place = this.taken % this.size;
    if (place === 0 && this.taken > 0)
      this.order = seededPermutation(this.size, `${this.seed}/${this.taken / this.size}`);
    this.taken += 1;
    return this.order(place);
  }

  passes(): number {
    return this.taken / this.size;
  }
}
