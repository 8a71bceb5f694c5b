/** Reads a domain's documents, splits off the held-out ones, and tokenises both sides onto disk, once for all datasets. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sourceCountSchema } from '../../contracts/dataset.js';
import { digestOf } from '../../domain/lib/digest.js';
import { markUsed } from './cache.js';
import { renderChats } from './chat-template.js';
import type { OpenDomain, OpenSource } from '../read/domains.js';
import { tooManyBad } from '../errors.js';
import type { BadFile } from '../errors.js';
import { framed } from '../rows/lookups.js';
import type { Document } from '../read/index.js';
import { textProblem } from './pieces.js';
import { hashDocument, isHeldOut } from '../read/split.js';
import { Spool, SpoolWriter } from './spool.js';
import type { TextTokenizer } from './tokenizer.js';

/** What a source gave: a row of the dataset's manifest. */
export type SourceCount = z.infer<typeof sourceCountSchema>;

/** A domain on disk. */
export interface TokenisedDomain {
  readonly training: Spool;
  readonly heldOut: Spool;
  readonly counts: readonly SourceCount[];
}

/** How to tokenise. */
export interface TokeniseOptions {
  readonly tokenizer: TextTokenizer;
  readonly heldOutShare: number;
  readonly maxBadShare: number;
  /** Tokenised domains are kept here by digest and found again. */
  readonly cacheFolder: string;
  readonly signal?: AbortSignal | undefined;
  readonly onDocuments?: ((domain: string, documents: number, tokens: number) => void) | undefined;
}

/** Changes whenever the same inputs come to give other tokens. */
const VERSION = 3;
/** Text tokenised at a time, characters. */
const BATCH_CHARACTERS = 128 * 1024;
/** What a document takes besides its text, in characters: there may be many that say little. */
const DOCUMENT_COST = 1024;
/** Bad files that a manifest names; the rest are counted in one more entry. */
const NAMED_BAD_FILES = 100;

const spoolSizeSchema = z.strictObject({ documents: z.int(), tokens: z.int(), masked: z.boolean() });
const summarySchema = z.strictObject({
  training: spoolSizeSchema,
  heldOut: spoolSizeSchema,
  counts: z.array(sourceCountSchema),
  badCounts: z.array(z.int()),
});
type Summary = z.infer<typeof summarySchema>;

/**
 * The tokenised form of a domain, from the cache or made now.
 * @throws CurationError (data) when a source has more bad files than allowed.
 */
export async function tokeniseDomain(domain: OpenDomain, options: TokeniseOptions): Promise<TokenisedDomain> {
  const { tokenizer, heldOutShare } = options;
  const key = digestOf({ VERSION, domain: domain.digest, tokenizer: tokenizer.digest, heldOutShare });
  const folder = join(options.cacheFolder, key.slice('sha256:'.length, 'sha256:'.length + 24));
  const summary = (await readSummary(folder)) ?? (await makeSpools(domain, folder, options));
  await markUsed(folder);
  summary.counts.forEach((count, index) => {
    const bad = summary.badCounts[index] ?? 0;
    if (bad > options.maxBadShare * count.files)
      throw tooManyBad(count.source, count.badFiles, bad, count.files, options.maxBadShare);
  });
  return {
    training: new Spool(join(folder, 'training'), summary.training),
    heldOut: new Spool(join(folder, 'held-out'), summary.heldOut),
    counts: summary.counts,
  };
}

async function readSummary(folder: string): Promise<Summary | undefined> {
  try {
    return summarySchema.parse(JSON.parse(await readFile(join(folder, 'summary.json'), 'utf8')));
  } catch {
    return undefined;
  }
}

/** Writes beside the final place and renames: a cache entry is whole or not there. */
async function makeSpools(domain: OpenDomain, folder: string, options: TokeniseOptions): Promise<Summary> {
  const partial = `${folder}.${randomUUID()}`;
  await mkdir(partial, { recursive: true });
  const spools = new SplitSpools(partial, domain, options);
  try {
    const counts: SourceCount[] = [];
    const badCounts: number[] = [];
    for (const source of domain.sources) {
      const { count, badCount } = await readSource(source, spools, options);
      counts.push(count);
      badCounts.push(badCount);
    }
    const summary: Summary = { ...spools.close(), counts, badCounts };
    await writeFile(join(partial, 'summary.json'), JSON.stringify(summary));
    await keep(partial, folder);
    return summary;
  } catch (error) {
    await spools.abandon();
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

/** Another curation may have finished the same entry meanwhile, and be reading it: then that one stays. */
async function keep(partial: string, folder: string): Promise<void> {
  const other = await readSummary(folder);
  if (other !== undefined) return rm(partial, { recursive: true, force: true });
  await rm(folder, { recursive: true, force: true });
  await rename(partial, folder);
}

async function readSource(
  source: OpenSource,
  spools: SplitSpools,
  options: TokeniseOptions,
): Promise<{ count: SourceCount; badCount: number }> {
  const before = spools.totals();
  const badFiles: BadFile[] = [];
  let [files, documents, badCount, unnamed] = [0, 0, 0, 0];
  const isBad = (bad: BadFile, lines: number): void => {
    badCount += lines;
    if (badFiles.length < NAMED_BAD_FILES) badFiles.push(bad);
    else unnamed += 1;
  };
  for await (const item of source.documents.read(source.fileDigests)) {
    options.signal?.throwIfAborted();
    switch (item.kind) {
      case 'file':
        files += 1;
        break;
      case 'bad':
        files += item.lines ?? 1;
        isBad(item.bad, item.lines ?? 1);
        break;
      case 'document': {
        const problem = unusable(item.document);
        if (problem !== undefined) isBad({ path: item.document.id, problem }, 1);
        else await spools.add(item.document);
        documents += problem === undefined ? 1 : 0;
      }
    }
  }
  await spools.settle();
  const after = spools.totals();
  if (unnamed > 0) badFiles.push({ path: '…', problem: `${unnamed} more, not named` });
  const count = {
    source: source.name,
    files,
    documents,
    tokens: after.tokens - before.tokens,
    heldOutDocuments: after.heldOutDocuments - before.heldOutDocuments,
    badFiles,
  };
  return { count, badCount };
}

/** What keeps a document from being tokenised. */
function unusable({ text, turns = [text] }: Document): string | undefined {
  for (const one of turns) {
    const problem = textProblem(one);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

interface PendingDocument {
  readonly document: Document;
  readonly heldOut: boolean;
  readonly choice: number;
}

/** Collects documents into batches, and tokenises one batch while the next is read. */
class SplitSpools {
  private readonly training: SpoolWriter;
  private readonly heldOut: SpoolWriter;
  private batch: PendingDocument[] = [];
  private cost = 0;
  private running: Promise<void> = Promise.resolve();
  private tokens = 0;
  private documents = 0;
  private heldOutDocuments = 0;
  private closed: Pick<Summary, 'training' | 'heldOut'> | undefined;

  constructor(
    folder: string,
    private readonly domain: OpenDomain,
    private readonly options: TokeniseOptions,
  ) {
    this.training = new SpoolWriter(join(folder, 'training'));
    this.heldOut = new SpoolWriter(join(folder, 'held-out'));
  }

  /** Which side a document belongs to is decided here, before anything else is done with it. */
  async add(document: Document): Promise<void> {
    const hash = hashDocument(document.text);
    const heldOut = isHeldOut(hash, this.options.heldOutShare);
    this.batch.push({ document, heldOut, choice: hash.choice });
    this.cost += document.text.length + DOCUMENT_COST;
    if (this.cost >= BATCH_CHARACTERS) await this.flush();
  }

  /** Waits until everything added is on disk. */
  async settle(): Promise<void> {
    await this.flush();
    await this.running;
  }

  /** Lets go of the files after a failure. */
  async abandon(): Promise<void> {
    await this.running.catch(() => undefined);
    this.close();
  }

  totals(): { tokens: number; heldOutDocuments: number } {
    return { tokens: this.tokens, heldOutDocuments: this.heldOutDocuments };
  }

  close(): Pick<Summary, 'training' | 'heldOut'> {
    this.closed ??= { training: this.training.close(), heldOut: this.heldOut.close() };
    return this.closed;
  }

  private async flush(): Promise<void> {
    await this.running;
    const batch = this.batch;
    [this.batch, this.cost] = [[], 0];
    this.running = this.encode(batch);
    // Awaited by the next flush; until then nobody else must take a failure for unhandled.
    this.running.catch(() => undefined);
  }

  private async encode(batch: readonly PendingDocument[]): Promise<void> {
    const { tokenizer } = this.options;
    const encoded = await encodeDocuments(
      batch.map(({ document }) => document),
      tokenizer,
    );
    encoded.forEach(({ tokens, mask }, index) => {
      const pending = batch[index];
      if (pending === undefined) return;
      const spool = pending.heldOut ? this.heldOut : this.training;
      spool.add(tokens, pending.choice, this.domain.masked ? mask : undefined);
      this.tokens += tokens.length;
      this.documents += 1;
      if (pending.heldOut) this.heldOutDocuments += 1;
    });
    this.options.onDocuments?.(this.domain.name, this.documents, this.tokens);
  }
}

interface EncodedDocument {
  readonly tokens: Uint32Array;
  readonly mask?: Uint8Array;
}

/** Texts between begin and end of text; dialogues by the chat template, with their mask. Order is kept. */
async function encodeDocuments(
  documents: readonly Document[],
  tokenizer: TextTokenizer,
): Promise<EncodedDocument[]> {
  const turns = documents.flatMap((document) => (document.turns === undefined ? [] : [document.turns]));
  const texts = documents.flatMap((document) => (document.turns === undefined ? [document.text] : []));
  const chats = turns.length === 0 ? [] : await renderChats(turns, tokenizer);
  const plain = texts.length === 0 ? [] : await tokenizer.encode(texts);
  let [chat, text] = [0, 0];
  return documents.map((document) => {
    if (document.turns !== undefined) return found(chats[chat++]);
    return { tokens: framed(found(plain[text++]), tokenizer) };
  });
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('every document has its encoding');
  return value;
}
