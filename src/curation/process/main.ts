/**
 * The process that curates one dataset and ends. A worker starts it (client.ts): curation takes memory that a worker
 * would never give back, and computes where a worker has heartbeats to send.
 */
import { getOneMessage, sendMessage } from 'execa';
import { FAILURE_CHARACTERS, withinLimit } from '../../domain/lib/text.js';
import { isStoreError } from '../../store/errors.js';
import { NAMES, modelLayout, objectUrl, rootLayout } from '../../contracts/layout.js';
import { readModelManifest } from '../../store/models.js';
import { ObjectStore } from '../../store/object-store.js';
import type { ModelRef } from '../../contracts/common.js';
import { checkSources } from './check-sources.js';
import { curateDataset } from '../curate.js';
import type { DatasetSink } from '../write/dataset-sink.js';
import { CurationError } from '../errors.js';
import { processRequestSchema } from './messages.js';
import type { CurationAnswer, CurationRequest, CuratedInProcess, ProcessRequest } from './messages.js';

/** Time to tidy up in, once it is told to end or its worker is gone. */
const END_MS = 2_000;

const ending = new AbortController();
// A worker that dies closes the channel: without it nobody would hear of the dataset.
process.once('disconnect', end);
process.once('SIGTERM', end);
process.once('SIGINT', end);

function end(): void {
  ending.abort();
  setTimeout(() => process.exit(1), END_MS).unref();
}

async function curate(request: CurationRequest, store: ObjectStore): Promise<CuratedInProcess> {
  const { ref, manifest, adopted } = await curateDataset({
    ...request,
    tokenizerJson: await readTokenizer(store, request.tokenizer),
    sink: storeSink(store, request.rootUrl),
    signal: ending.signal,
    onProgress: (progress) => void say({ type: 'progress', progress }),
  });
  return { ref, rows: manifest.rows, tokens: manifest.tokens, adopted };
}

async function readTokenizer(store: ObjectStore, tokenizer: ModelRef): Promise<Uint8Array> {
  const { files } = await readModelManifest(store, tokenizer);
  const [part, ...more] = files.find(({ path }) => path === NAMES.tokenizer)?.parts ?? [];
  if (part === undefined || more.length > 0)
    throw new Error(`${tokenizer.url} holds no tokenizer.json of one part`);
  return store.getVerified(modelLayout(tokenizer.url).tokenizer, part.sha256);
}

/** Datasets below a root prefix of the store. */
function storeSink(store: ObjectStore, rootUrl: string): DatasetSink {
  const url = (dataset: string, file: string): string =>
    objectUrl(rootLayout(rootUrl).dataset(dataset), file);
  return {
    read: async (dataset, file) => (await store.find(url(dataset, file)))?.data,
    create: (dataset, file, bytes) => store.create(url(dataset, file), bytes),
    url,
  };
}

function failed(error: unknown): CurationAnswer {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return {
    type: 'failed',
    name,
    message: withinLimit(message, FAILURE_CHARACTERS),
    failureClass: error instanceof CurationError ? error.failureClass : null,
    store: isStoreError(error) ? { code: error.code, url: error.url } : null,
    system: systemError(error),
  };
}

function systemError(error: unknown): { readonly code: string; readonly syscall: string } | null {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return null;
  return { code: String(error.code), syscall: String(error.syscall) };
}

/** A worker that is gone hears nothing, which is no failure of curation. */
async function say(answer: CurationAnswer): Promise<void> {
  await sendMessage(answer).catch(() => undefined);
}

async function answer(request: ProcessRequest): Promise<CurationAnswer> {
  if ('check' in request)
    return { type: 'checked', problems: await checkSources(request.sources, request.roots) };
  const store = ObjectStore.connect(request.store);
  try {
    return { type: 'curated', curated: await curate(request, store) };
  } finally {
    store.close();
  }
}

const request = processRequestSchema.parse(await getOneMessage());
try {
  await say(await answer(request));
} catch (error) {
  await say(failed(error));
} finally {
  // Listening for its end keeps the channel, and so the process, open.
  if (process.connected) process.disconnect();
}
