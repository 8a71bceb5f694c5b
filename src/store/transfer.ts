/** Files up and down: multipart uploads and parallel ranged reads in the manifests' own parts, with bounded memory. */
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { PART_BYTES } from '../contracts/index.js';
import type { Digest, StoredFile } from '../contracts/index.js';
import { PartDigester, describeBytes, storedChecksum, toDigest } from './digest.js';
import { StoreError, isStoreError } from './errors.js';
import { objectUrl, parseUrl } from '../contracts/layout.js';
import { translating } from './object-store.js';
import type { ObjectStore } from './object-store.js';

/** Parts in flight at once. Uploads hold each in memory (64 MiB), downloads only a chunk of each. */
const PARALLEL = 4;

/** Bytes that are read from, or written to, a local file at once. */
const PIECE_BYTES = 1024 * 1024;

/** Contents of a file: bytes in memory, or a local file. */
export type FileSource = Uint8Array | { readonly file: string };

/** Runs `work` over the items, `limit` at a time; results in the items' order. The first error stops what has not begun. */
export async function mapConcurrently<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  let failed = false;
  const runner = async (): Promise<void> => {
    for (const [index, item] of queue) {
      if (failed) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const runners = await Promise.allSettled(Array.from({ length: limit }, runner));
  for (const runner of runners) if (runner.status === 'rejected') throw runner.reason;
  return results;
}

/** The manifest entry of a local file, by reading it once. */
export async function describeFile(name: string, file: string): Promise<StoredFile> {
  const digester = new PartDigester();
  for await (const chunk of createReadStream(file, { highWaterMark: PIECE_BYTES })) {
    if (Buffer.isBuffer(chunk)) digester.update(chunk);
  }
  return digester.finish(name);
}

/**
 * Uploads one file to `<prefixUrl>/<name>` and returns its manifest entry. Above 64 MiB it is a multipart upload whose parts
 * are the manifest's, aborted when it fails.
 */
export async function uploadFile(
  store: ObjectStore,
  prefixUrl: string,
  name: string,
  source: FileSource,
): Promise<StoredFile> {
  const url = objectUrl(prefixUrl, name);
  if (source instanceof Uint8Array) return uploadBytes(store, url, name, source);
  const { size } = await stat(source.file);
  if (size <= PART_BYTES) return uploadBytes(store, url, name, await readFile(source.file));
  const digester = new PartDigester();
  const pieces = createReadStream(source.file, { highWaterMark: PIECE_BYTES });
  await uploadParts(store, url, Readable.from(digesting(pieces, digester)));
  return digester.finish(name);
}

async function uploadBytes(
  store: ObjectStore,
  url: string,
  name: string,
  data: Uint8Array,
): Promise<StoredFile> {
  if (data.length <= PART_BYTES) await store.put(url, data);
  else await uploadParts(store, url, data);
  return describeBytes(name, data);
}

async function uploadParts(store: ObjectStore, url: string, body: Uint8Array | Readable): Promise<void> {
  const { bucket, key } = parseUrl(url);
  const upload = new Upload({
    client: store.client,
    params: { Bucket: bucket, Key: key, Body: body, ChecksumAlgorithm: 'SHA256' },
    partSize: PART_BYTES,
    queueSize: PARALLEL,
  });
  await translating(url, () => upload.done());
}

async function* digesting(
  stream: AsyncIterable<unknown>,
  digester: PartDigester,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('expected a stream of bytes');
    digester.update(chunk);
    yield chunk;
  }
}

/**
 * Downloads files of a prefix into a folder, each part verified as it arrives.
 * @returns the problems: parts that disagreed with their digest on two reads, wrong sizes, objects that are gone.
 */
export async function downloadFiles(
  store: ObjectStore,
  prefixUrl: string,
  files: readonly StoredFile[],
  folder: string,
): Promise<string[]> {
  const problems: string[] = [];
  for (const file of files) {
    const target = path.join(folder, file.path);
    await mkdir(path.dirname(target), { recursive: true });
    const handle = await open(target, 'w');
    try {
      problems.push(...(await readParts(store, objectUrl(prefixUrl, file.path), file, handle)));
    } finally {
      await handle.close();
    }
  }
  return problems;
}

/** Reads every byte of files of a prefix and compares the digests; returns the problems. Nothing is kept. */
export async function verifyBytes(
  store: ObjectStore,
  prefixUrl: string,
  files: readonly StoredFile[],
): Promise<string[]> {
  const problems: string[] = [];
  for (const file of files) {
    problems.push(...(await readParts(store, objectUrl(prefixUrl, file.path), file, null)));
  }
  return problems;
}

/** Compares sizes and checksums of files as the store reports them; returns the problems. */
export async function verifyStored(
  store: ObjectStore,
  prefixUrl: string,
  files: readonly StoredFile[],
): Promise<string[]> {
  const problems = await mapConcurrently(files, PARALLEL, async (file) => {
    try {
      const info = await store.head(objectUrl(prefixUrl, file.path));
      if (info.bytes !== file.bytes)
        return `${file.path} has ${String(info.bytes)} bytes, not ${String(file.bytes)}`;
      if (info.sha256 !== null && info.sha256 !== storedChecksum(file.parts)) {
        return `${file.path}: the store reports another checksum`;
      }
      return null;
    } catch (error) {
      if (isStoreError(error, 'not-found')) return `${file.path} is gone`;
      throw error;
    }
  });
  return problems.filter((problem) => problem !== null);
}

async function readParts(
  store: ObjectStore,
  url: string,
  file: StoredFile,
  into: FileHandle | null,
): Promise<string[]> {
  const problems = await mapConcurrently(file.parts, PARALLEL, async (part) => {
    const first = await partProblem(store, url, file, part, into);
    return first === null ? null : partProblem(store, url, file, part, into);
  });
  return problems.filter((problem) => problem !== null);
}

/** What is wrong with a part; null: nothing. Only the store's clear answers count, its trouble is thrown. */
async function partProblem(
  store: ObjectStore,
  url: string,
  file: StoredFile,
  part: StoredFile['parts'][number],
  into: FileHandle | null,
): Promise<string | null> {
  try {
    return await readPart(store, url, file, part, into);
  } catch (error) {
    if (isStoreError(error, 'not-found')) return `${file.path} is gone`;
    if (isStoreError(error, 'out-of-range')) {
      return `${file.path} is shorter than its ${String(file.bytes)} bytes`;
    }
    throw error;
  }
}

async function readPart(
  store: ObjectStore,
  url: string,
  file: StoredFile,
  part: StoredFile['parts'][number],
  into: FileHandle | null,
): Promise<string | null> {
  const { bucket, key } = parseUrl(url);
  if (part.bytes === 0) {
    const { bytes } = await store.head(url);
    return bytes === file.bytes ? null : `${file.path} has ${String(bytes)} bytes, not ${String(file.bytes)}`;
  }
  const end = part.offset + part.bytes - 1;
  return translating(url, async () => {
    const range = `bytes=${String(part.offset)}-${String(end)}`;
    const answer = await store.client.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range: range }));
    if (!(answer.Body instanceof Readable)) throw new TypeError('expected a stream of bytes');
    const size = Number(answer.ContentRange?.split('/').at(-1));
    if (size !== file.bytes) {
      answer.Body.destroy();
      return `${file.path} has ${String(size)} bytes, not ${String(file.bytes)}`;
    }
    const { bytes, digest } = await receive(answer.Body, into, part.offset);
    if (bytes !== part.bytes) throw new StoreError('unavailable', url, 'the answer ended early');
    return digest === part.sha256
      ? null
      : `${file.path}: bytes ${String(part.offset)} to ${String(end)} do not match their digest`;
  });
}

/** Hashes what arrives and writes it, one piece while the next one comes. */
async function receive(
  stream: Readable,
  into: FileHandle | null,
  offset: number,
): Promise<{ readonly bytes: number; readonly digest: Digest }> {
  const hash = createHash('sha256');
  let bytes = 0;
  let writing = Promise.resolve();
  try {
    for await (const piece of inPieces(stream)) {
      for (const chunk of piece) hash.update(chunk);
      await writing;
      if (into !== null) {
        writing = writeAll(into, piece, offset + bytes);
        writing.catch(() => undefined); // it is awaited, but later
      }
      bytes += lengthOf(piece);
    }
  } finally {
    await writing;
  }
  return { bytes, digest: toDigest(hash.digest('hex')) };
}

/** Chunks of a stream, gathered: the store's come in 64 KiB, and a write of each would cost more than its bytes do. */
async function* inPieces(stream: Readable): AsyncGenerator<Uint8Array[]> {
  let piece: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('expected a stream of bytes');
    piece.push(chunk);
    bytes += chunk.length;
    if (bytes < PIECE_BYTES) continue;
    yield piece;
    piece = [];
    bytes = 0;
  }
  if (bytes > 0) yield piece;
}

async function writeAll(into: FileHandle, chunks: readonly Uint8Array[], at: number): Promise<void> {
  const { bytesWritten } = await into.writev(chunks, at);
  if (bytesWritten === lengthOf(chunks)) return;
  await writeAll(into, [Buffer.concat(chunks).subarray(bytesWritten)], at + bytesWritten);
}

function lengthOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
}
