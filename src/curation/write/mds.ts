/**
 * MDS shards, byte for byte as mosaicml-streaming's MDSWriter makes them (version 2, uncompressed): published ProLong data
 * has this form, so its shards and ours are read by the same readers. Layout of a shard, all integers little-endian uint32:
 * `rows | offset of row 0 … offset of row n (the end) | JSON of the columns | rows`; of a row: `size of each column | columns`.
 */
import { endianness } from 'node:os';

/** Where MDSWriter starts a new shard by default, bytes. */
export const DEFAULT_SHARD_BYTES = 2 ** 26;

/** One row of a dataset. */
export interface Row {
  /** Exactly the sequence length many. */
  readonly tokens: Uint32Array;
  /** Half-open bounds of its documents, [start, end, start, end, …], covering the row without gaps. */
  readonly bounds: Uint32Array;
  /** Name of its domain. */
  readonly domain: string;
  /** Chats: 1 where the loss counts, as long as `tokens`. All rows of a dataset have it or none. */
  readonly mask?: Uint8Array;
}

/** A finished shard. */
export interface Shard {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly rows: number;
}

/** Collects rows until a shard is full. Holds one shard in memory. */
export class MdsWriter {
  private readonly header: Uint8Array;
  private readonly columns: readonly Column[];
  private rows: Uint8Array[] = [];
  private size: number;
  private readonly index: Record<string, unknown>[] = [];

  /**
   * @param options.mask whether rows carry a mask column
   * @param options.shardBytes size that a shard doesn't exceed unless a single row does
   */
  constructor(private readonly options: { readonly mask: boolean; readonly shardBytes: number }) {
    if (endianness() !== 'LE') throw new Error('MDS shards are little-endian, and so must be the machine');
    this.columns = options.mask ? [...COLUMNS, MASK] : COLUMNS;
    this.header = new TextEncoder().encode(pythonJson(this.config()));
    this.size = this.emptySize();
  }

  /** Adds a row; gives the shard before it when that one was full. */
  add(row: Row): Shard | undefined {
    const encoded = encodeRow(row, this.columns);
    const full = this.rows.length > 0 && this.options.shardBytes < this.size + encoded.length + 4;
    const shard = full ? this.flush() : undefined;
    this.rows.push(encoded);
    this.size += encoded.length + 4;
    return shard;
  }

  /** The last shard, undefined when there are no rows left. */
  flush(): Shard | undefined {
    if (this.rows.length === 0) return undefined;
    const file = `shard.${String(this.index.length).padStart(5, '0')}.mds`;
    const shard = { file, bytes: encodeShard(this.rows, this.header), rows: this.rows.length };
    const rawData = { basename: file, bytes: shard.bytes.length, hashes: {} };
    this.index.push({ samples: shard.rows, raw_data: rawData, zip_data: null, ...this.config() });
    this.rows = [];
    this.size = this.emptySize();
    return shard;
  }

  /** `index.json` of the shards so far. */
  indexFile(): Uint8Array {
    return new TextEncoder().encode(pythonJson({ version: 2, shards: this.index }));
  }

  private emptySize(): number {
    return 4 + 4 + this.header.length;
  }

  private config(): Record<string, unknown> {
    return {
      version: 2,
      format: 'mds',
      compression: null,
      hashes: [],
      size_limit: this.options.shardBytes,
      column_names: this.columns.map((column) => column.name),
      column_encodings: this.columns.map((column) => column.encoding),
      column_sizes: this.columns.map(() => null),
    };
  }
}

interface Column {
  readonly name: string;
  readonly encoding: string;
  readonly encode: (row: Row) => Uint8Array;
}

/** In order of name, as the format wants. */
const COLUMNS: readonly Column[] = [
  { name: 'domain', encoding: 'str', encode: (row) => new TextEncoder().encode(row.domain) },
  {
    name: 'indices',
    encoding: 'ndarray:uint32',
    encode: (row) => ndarray([row.bounds.length / 2, 2], row.bounds),
  },
  {
    name: 'input_ids',
    encoding: 'ndarray:uint32',
    encode: (row) => ndarray([row.tokens.length], row.tokens),
  },
];
const MASK: Column = {
  name: 'mask',
  encoding: 'ndarray:uint8',
  encode: (row) => {
    if (row.mask?.length !== row.tokens.length) throw new RangeError('the mask must be as long as the row');
    return ndarray([row.mask.length], row.mask);
  },
};

/** Static type, dynamic shape: one byte of rank and shape type, the shape in that type, the values. */
function ndarray(shape: readonly number[], values: Uint32Array | Uint8Array): Uint8Array {
  const largest = Math.max(...shape);
  const shapeType = largest < 2 ** 8 ? 0 : largest < 2 ** 16 ? 1 : 2;
  const shapeBytes = 2 ** shapeType;
  const start = 1 + shape.length * shapeBytes;
  const bytes = new Uint8Array(start + values.byteLength);
  bytes[0] = (shape.length << 2) | shapeType;
  shape.forEach((extent, axis) => {
    for (let byte = 0; byte < shapeBytes; byte++)
      bytes[1 + axis * shapeBytes + byte] = (extent >>> (8 * byte)) & 0xff;
  });
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), start);
  return bytes;
}

function encodeRow(row: Row, columns: readonly Column[]): Uint8Array {
  const encoded = columns.map((column) => column.encode(row));
  const sizes = Uint32Array.from(encoded, (column) => column.length);
  return concatenate([new Uint8Array(sizes.buffer), ...encoded]);
}

function encodeShard(rows: readonly Uint8Array[], header: Uint8Array): Uint8Array {
  const offsets = new Uint32Array(rows.length + 2);
  offsets[0] = rows.length;
  let offset = offsets.byteLength + header.length;
  rows.forEach((row, index) => {
    offsets[index + 1] = offset;
    offset += row.length;
  });
  offsets[rows.length + 1] = offset;
  return concatenate([new Uint8Array(offsets.buffer), header, ...rows]);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** JSON as Python's `json.dumps(value, sort_keys=True)` writes it (for the ASCII and integers that occur here). */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${fields.map(([key, field]) => `${JSON.stringify(key)}: ${pythonJson(field)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}
