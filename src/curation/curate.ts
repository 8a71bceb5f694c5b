/**
 * Makes a dataset: reads and tokenises the domains' documents, mixes and packs them into rows, and stores them as MDS
 * shards with a manifest. Everything is a pure function of the plan, the sources' bytes and the tokenizer, so doing it again
 * gives the same bytes, and what is already there is adopted.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { datasetManifestSchema } from '../contracts/dataset.js';
import type { DatasetManifest } from '../contracts/dataset.js';
import { datasetRefSchema, digestSchema } from '../contracts/common.js';
import type { DatasetRef } from '../contracts/common.js';
import type { DatasetPlan } from '../domain/walk/datasets.js';
import { digestOf } from '../domain/lib/digest.js';
import type { Recipe } from '../domain/recipe/schema.js';
import { NAMES, contentFolder } from '../contracts/layout.js';
import type { DatasetSink } from './write/dataset-sink.js';
import { pruneCache } from './tokens/cache.js';
import { openDomains } from './read/domains.js';
import type { OpenDomain } from './read/domains.js';
import { CurationError } from './errors.js';
import { LookupDocuments } from './rows/lookups.js';
import { DEFAULT_SHARD_BYTES, MdsWriter } from './write/mds.js';
import type { Row, Shard } from './write/mds.js';
import { domainsOf, partsOf } from './rows/plan-rows.js';
import type { DatasetPart, DomainText } from './rows/plan-rows.js';
import { slotOrder } from './rows/slots.js';
import type { SourceRoots } from './read/index.js';
import { tokeniseDomain } from './tokens/tokenise.js';
import { loadTokenizer } from './tokens/tokenizer.js';
import type { TextTokenizer } from './tokens/tokenizer.js';

/** Changes whenever the same inputs come to give other bytes. */
const VERSION = 2;
/** Rows between two looks at the event loop, so that heartbeats go out. */
const ROWS_PER_TURN = 64;

/** How far curation is. */
export type CurationProgress =
  | {
      readonly phase: 'reading';
      readonly domain: string;
      readonly documents: number;
      readonly tokens: number;
    }
  | { readonly phase: 'writing'; readonly rows: number; readonly rowsInAll: number };

/** What to curate and with what. */
export interface CurationJob {
  readonly plan: DatasetPlan;
  /** Of the recipe: where text comes from, and the seed of its order. */
  readonly data: Recipe['data'];
  readonly seed: number;
  /** Bytes of tokenizer.json, and how many tokens the model knows. */
  readonly tokenizerJson: Uint8Array;
  readonly vocabularySize: number;
  readonly roots: SourceRoots;
  readonly sink: DatasetSink;
  /** Tokenised text is kept here for the next dataset; may be emptied whenever nothing runs. */
  readonly cacheFolder: string;
  readonly shardBytes?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CurationProgress) => void;
}

/** A dataset in the store. */
export interface CuratedDataset {
  readonly ref: DatasetRef;
  readonly manifest: DatasetManifest;
  /** It was there already. */
  readonly adopted: boolean;
}

/**
 * Curates one dataset into `<name>@<digest of what it is made from>`: shards as they fill, the manifest last.
 * @throws CurationError `user-error` when the recipe names what isn't there or doesn't fit; `data` when too many files are
 * bad or the text doesn't suffice. Errors of the sink and an abort pass through.
 */
export async function curateDataset(job: CurationJob): Promise<CuratedDataset> {
  const tokenizer = openTokenizer(job);
  const domains = await openDomains(domainsOf(job.plan), job.data.sources, job.roots);
  const dataset = contentFolder(job.plan.name, inputDigest(job, tokenizer, domains));
  const finished = await job.sink.read(dataset, NAMES.manifest);
  if (finished !== undefined) return curated(dataset, finished, job.sink, true);

  const scratchFolder = join(job.cacheFolder, `scratch-${randomUUID()}`);
  await mkdir(scratchFolder, { recursive: true });
  await pruneCache(job.cacheFolder);
  const opened: DomainText[] = [];
  try {
    for (const domain of domains) opened.push({ domain, text: await tokenise(domain, tokenizer, job) });
    const manifest = await writeRows(dataset, opened, tokenizer, scratchFolder, job);
    const bytes = new TextEncoder().encode(`${JSON.stringify(manifest)}\n`);
    await job.sink.create(dataset, NAMES.manifest, bytes);
    return curated(dataset, bytes, job.sink, false);
  } finally {
    for (const { text } of opened) {
      text.training.close();
      text.heldOut.close();
    }
    await rm(scratchFolder, { recursive: true, force: true });
  }
}

/**
 * Opens everything a dataset would read, without reading it through.
 * @throws CurationError (user-error), as `curateDataset` would: for checks before anything is launched.
 */
export async function checkDataset(
  job: Pick<CurationJob, 'plan' | 'data' | 'tokenizerJson' | 'vocabularySize' | 'roots'>,
): Promise<void> {
  openTokenizer(job);
  await openDomains(domainsOf(job.plan), job.data.sources, job.roots);
}

function openTokenizer(job: Pick<CurationJob, 'tokenizerJson' | 'vocabularySize'>): TextTokenizer {
  const tokenizer = loadTokenizer(job.tokenizerJson);
  if (tokenizer.vocabularySize > job.vocabularySize)
    throw new CurationError(
      'user-error',
      `the tokenizer has ${tokenizer.vocabularySize} tokens and the model knows ${job.vocabularySize}`,
    );
  return tokenizer;
}

function inputDigest(job: CurationJob, tokenizer: TextTokenizer, domains: readonly OpenDomain[]): string {
  const { heldOutShare, cut } = job.data;
  return digestOf({
    VERSION,
    plan: job.plan,
    seed: job.seed,
    heldOutShare,
    cut,
    tokenizer: tokenizer.digest,
    domains: domains.map(({ name, digest, lookupShare }) => ({ name, digest, lookupShare })),
    shardBytes: job.shardBytes ?? DEFAULT_SHARD_BYTES,
  });
}

function curated(dataset: string, bytes: Uint8Array, sink: DatasetSink, adopted: boolean): CuratedDataset {
  const manifest = datasetManifestSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  const ref = datasetRefSchema.parse({
    manifestUrl: sink.url(dataset, NAMES.manifest),
    digest: sha256(bytes),
  });
  return { ref, manifest, adopted };
}

function tokenise(
  domain: OpenDomain,
  tokenizer: TextTokenizer,
  job: CurationJob,
): ReturnType<typeof tokeniseDomain> {
  return tokeniseDomain(domain, {
    tokenizer,
    heldOutShare: job.data.heldOutShare,
    maxBadShare: job.data.maxBadShare,
    cacheFolder: job.cacheFolder,
    signal: job.signal,
    onDocuments: (name, documents, tokens) =>
      job.onProgress?.({ phase: 'reading', domain: name, documents, tokens }),
  });
}

async function writeRows(
  dataset: string,
  opened: readonly DomainText[],
  tokenizer: TextTokenizer,
  scratchFolder: string,
  job: CurationJob,
): Promise<DatasetManifest> {
  const { plan } = job;
  const parts = partsOf({
    plan,
    domains: new Map(opened.map((text) => [text.domain.name, text])),
    lookups: await LookupDocuments.open(tokenizer),
    seed: job.seed,
    cut: job.data.cut,
    scratchFolder,
  });
  try {
    const written = await writeShards(dataset, parts, job);
    return {
      schema: 'longhaul.dataset/1',
      name: plan.name,
      sequenceLengthTokens: plan.sequenceLengthTokens,
      rows: written.rows,
      tokens: written.rows * plan.sequenceLengthTokens,
      hasMask: isMasked(plan),
      tokenizerDigest: digestSchema.parse(tokenizer.digest),
      vocabularySize: tokenizer.vocabularySize,
      seed: job.seed,
      domains: parts.map(({ name, rows, source, untrainedDocuments }, index) => ({
        name,
        rows,
        documents: written.documents[index] ?? 0,
        passes: source.passes(),
        untrainedDocuments,
      })),
      sources: opened.flatMap(({ text }) => [...text.counts]),
      shards: written.shards,
    };
  } finally {
    for (const part of parts) part.source.close();
  }
}

type ShardEntry = DatasetManifest['shards'][number];

/** Rows in the order of consumption, each shard stored while the next fills. */
async function writeShards(
  dataset: string,
  parts: readonly DatasetPart[],
  job: CurationJob,
): Promise<{ rows: number; documents: number[]; shards: ShardEntry[] }> {
  const writer = new MdsWriter({
    mask: isMasked(job.plan),
    shardBytes: job.shardBytes ?? DEFAULT_SHARD_BYTES,
  });
  const rowsInAll = parts.reduce((sum, part) => sum + part.rows, 0);
  const documents = parts.map(() => 0);
  const shards = new ShardEntries();
  let storing: Promise<void> = Promise.resolve();
  const store = async (shard: Shard | undefined): Promise<void> => {
    if (shard === undefined) return;
    shards.finish(shard);
    await storing;
    storing = job.sink.create(dataset, shard.file, shard.bytes);
    storing.catch(() => undefined);
  };
  let rows = 0;
  for (const part of slotOrder(parts.map((one) => one.rows))) {
    const row = await nextRow(parts, part);
    // A full shard holds the rows before this one.
    await store(writer.add(row));
    shards.add(part, row);
    documents[part] = (documents[part] ?? 0) + row.bounds.length / 2;
    rows += 1;
    if (rows % ROWS_PER_TURN !== 0) continue;
    job.signal?.throwIfAborted();
    job.onProgress?.({ phase: 'writing', rows, rowsInAll });
    await setImmediate();
  }
  await store(writer.flush());
  await storing;
  await job.sink.create(dataset, 'index.json', writer.indexFile());
  job.onProgress?.({ phase: 'writing', rows, rowsInAll });
  return { rows, documents, shards: shards.all };
}

async function nextRow(parts: readonly DatasetPart[], index: number): Promise<Row> {
  const part = parts[index];
  if (part === undefined) throw new Error('slots name parts');
  return { ...(await part.source.next()), domain: part.name };
}

/** The manifest's side of the shards. */
class ShardEntries {
  readonly all: ShardEntry[] = [];
  private firstRow = 0;
  private rowDomains: number[] = [];
  private rowSumSquares: number[] = [];

  add(part: number, row: Row): void {
    this.rowDomains.push(part);
    this.rowSumSquares.push(sumOfSquares(row.bounds));
  }

  finish(shard: Shard): void {
    const { rowDomains, rowSumSquares, firstRow } = this;
    const sha256Digest = digestSchema.parse(sha256(shard.bytes));
    this.all.push({
      file: shard.file,
      bytes: shard.bytes.length,
      sha256: sha256Digest,
      firstRow,
      rows: shard.rows,
      rowDomains,
      rowSumSquares,
    });
    this.firstRow += shard.rows;
    [this.rowDomains, this.rowSumSquares] = [[], []];
  }
}

function sumOfSquares(bounds: Uint32Array): number {
  let sum = 0;
  for (let at = 0; at + 1 < bounds.length; at += 2) sum += ((bounds[at + 1] ?? 0) - (bounds[at] ?? 0)) ** 2;
  return sum;
}

function isMasked(plan: DatasetPlan): boolean {
  return plan.purpose === 'training' && plan.masked;
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
