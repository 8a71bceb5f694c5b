/** Small corpora on disk, and datasets read back. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { loadConfig } from '../../../src/config.js';
import type { MixPart } from '../../../src/domain/recipe/schema.js';
import type { Source } from '../../../src/domain/recipe/sources.js';
import { folderSink } from '../../../src/curation/index.js';
import type { CurationJob, DatasetSink } from '../../../src/curation/index.js';
import type { SourceItem, SourceRoots } from '../../../src/curation/read/index.js';
import { loadTokenizer } from '../../../src/curation/tokens/tokenizer.js';
import type { TextTokenizer } from '../../../src/curation/tokens/tokenizer.js';

export const FIXTURES = join(import.meta.dirname, 'fixtures');

/** A folder with files, gone after the test. */
export async function folderWith(files: Readonly<Record<string, string | Uint8Array>> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'longhaul-curation-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

/** All roots at one folder. */
export function rootsAt(folder: string): SourceRoots {
  return {
    project: folder,
    npm: join(folder, 'node_modules'),
    python: join(folder, 'site-packages'),
    interpreter: loadConfig().trainerPython,
    allowed: [folder],
  };
}

/** Bytes of one of the small tokenizers. */
export function tokenizerJson(name: 'gpt2-style' | 'llama3-style' = 'llama3-style'): Promise<Uint8Array> {
  return readFile(join(FIXTURES, 'tokenizers', `${name}.json`));
}

export async function tokenizer(
  name: 'gpt2-style' | 'llama3-style' = 'llama3-style',
): Promise<TextTokenizer> {
  return loadTokenizer(await tokenizerJson(name));
}

/** Everything a source yields. */
export async function itemsOf(source: AsyncIterable<SourceItem>): Promise<SourceItem[]> {
  const items: SourceItem[] = [];
  for await (const item of source) items.push(item);
  return items;
}

/** Prose of a length, different for every seed, that repeats nothing. */
export function prose(words: number, seed: number): string {
  const lines: string[] = [];
  for (let line = 0; line < words / 8; line++) {
    const numbers = Array.from(
      { length: 8 },
      (_, word) => ((seed * 7919 + line * 8 + word) * 2654435761) % 99991,
    );
    lines.push(numbers.map((number) => `word${String(number)}`).join(' '));
  }
  return `${lines.join('\n')}\n`;
}

/** Overrides of a job. */
export interface JobOptions {
  readonly folder: string;
  readonly sources: Readonly<Record<string, Source[]>>;
  readonly mix: readonly MixPart[];
  readonly rows: number;
  readonly sequenceLengthTokens: number;
  readonly masked?: boolean;
  readonly heldOutShare?: number;
  readonly maxBadShare?: number;
  readonly cut?: CurationJob['data']['cut'];
  readonly seed?: number;
  readonly shardBytes?: number;
  readonly sink?: DatasetSink;
}

/** A curation job for a training dataset, stored below `<folder>/out`. */
export async function trainingJob(options: JobOptions): Promise<CurationJob> {
  return {
    plan: {
      purpose: 'training',
      name: 'stage',
      sequenceLengthTokens: options.sequenceLengthTokens,
      rows: options.rows,
      mix: options.mix,
      masked: options.masked ?? false,
    },
    data: {
      sources: options.sources,
      heldOutShare: options.heldOutShare ?? 0.1,
      maxBadShare: options.maxBadShare ?? 0,
      cut: options.cut ?? 'longest-first',
    },
    seed: options.seed ?? 1,
    tokenizerJson: await tokenizerJson(),
    vocabularySize: 640,
    roots: rootsAt(options.folder),
    sink: options.sink ?? folderSink(join(options.folder, 'out')),
    cacheFolder: join(options.folder, 'cache'),
    ...(options.shardBytes === undefined ? {} : { shardBytes: options.shardBytes }),
  };
}

/** A row as a reader of MDS sees it. */
export interface ReadRow {
  readonly domain: string;
  readonly tokens: readonly number[];
  readonly bounds: readonly (readonly [number, number])[];
  readonly mask: readonly number[] | undefined;
}

/** Reads a shard: written from the format's description, not from the writer. */
export function readShard(bytes: Uint8Array): ReadRow[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rows = view.getUint32(0, true);
  return Array.from({ length: rows }, (_, row) =>
    readRow(view, view.getUint32(4 + 4 * row, true), bytes, rows),
  );
}

function readRow(view: DataView, at: number, bytes: Uint8Array, rows: number): ReadRow {
  const first = view.getUint32(4, true);
  const header = new TextDecoder().decode(bytes.subarray(4 + 4 * (rows + 1), first));
  const names =
    /"column_names": \[([^\]]*)\]/
      .exec(header)?.[1]
      ?.split(', ')
      .map((name) => name.slice(1, -1)) ?? [];
  const columns = new Map<string, Uint8Array>();
  let offset = at + 4 * names.length;
  names.forEach((name, index) => {
    const size = view.getUint32(at + 4 * index, true);
    columns.set(name, bytes.subarray(offset, offset + size));
    offset += size;
  });
  const flat = array(columns.get('indices'), 4).values;
  const mask = columns.get('mask');
  return {
    domain: new TextDecoder().decode(columns.get('domain')),
    tokens: array(columns.get('input_ids'), 4).values,
    bounds: flat.flatMap((start, index) =>
      index % 2 === 0 ? [[start, flat[index + 1] ?? -1] as const] : [],
    ),
    mask: mask === undefined ? undefined : array(mask, 1).values,
  };
}

function array(column: Uint8Array | undefined, valueBytes: 1 | 4): { shape: number[]; values: number[] } {
  if (column === undefined) throw new Error('a column is missing');
  const view = new DataView(column.buffer, column.byteOffset, column.byteLength);
  const rank = (column[0] ?? 0) >> 2;
  const shapeBytes = 2 ** ((column[0] ?? 0) & 3);
  const little = (at: number, size: number): number =>
    Array.from({ length: size }, (_, byte) => view.getUint8(at + byte) * 2 ** (8 * byte)).reduce(
      (sum, part) => sum + part,
      0,
    );
  const shape = Array.from({ length: rank }, (_, axis) => little(1 + axis * shapeBytes, shapeBytes));
  const start = 1 + rank * shapeBytes;
  const count = shape.reduce((product, extent) => product * extent, 1);
  return {
    shape,
    values: Array.from({ length: count }, (_, index) => little(start + index * valueBytes, valueBytes)),
  };
}
