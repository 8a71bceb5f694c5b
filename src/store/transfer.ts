/** Files up and down: multipart uploads and parallel ranged reads in the manifests' own parts, with bounded memory. */
import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { PART_BYTES } from '../contracts/index.js';
import type { Digest, StoredFile } from '../contracts/index.js';
import { PartDigester, sha256, storedChecksum, toBase64, toDigest } from './digest.js';
import { StoreError, isStoreError } from './errors.js';
import { parseUrl } from './layout.js';
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
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    if (Buffer.isBuffer(chunk)) digester.update(chunk);
  }
  return digester.finish(name);
}

/**
 * Uploads one file to `<prefixUrl>/<name>` and returns its manifest entry. Above 64 MiB it is a multipart upload whose parts
 * are the manifest's, aborted when it fails. Each byte is hashed once: for the manifest, the store's check and the signature.
 */
export async function uploadFile(
  store: ObjectStore,
  prefixUrl: string,
  name: string,
  source: FileSource,
): Promise<StoredFile> {
  const url = `${prefixUrl}/${name}`;
  if (source instanceof Uint8Array) return upload(store, url, name, bytesOf(source));
  const handle = await open(source.file);
  try {
    return await upload(store, url, name, await fileContents(handle, url));
  } finally {
    await handle.close();
  }
}

type Part = StoredFile['parts'][number];

/** Something to upload, part by part. */
interface Contents {
  readonly bytes: number;
  /** Reads a part and sends it. Its bytes may be others' once that is done. */
  readonly pass: <T>(span: Omit<Part, 'sha256'>, send: Send<T>) => Promise<T>;
}

type Send<T> = (part: Part, data: Uint8Array) => Promise<T>;

function bytesOf(source: Uint8Array): Contents {
  return {
    bytes: source.length,
    pass: ({ offset, bytes }, send) => {
      const data = source.subarray(offset, offset + bytes);
      return send({ offset, bytes, sha256: sha256(data) }, data);
    },
  };
}

/** A file as long as it is now. Pieces are hashed as they are read, between which other transfers go on. */
async function fileContents(handle: FileHandle, url: string): Promise<Contents> {
  const { size } = await handle.stat();
  const spare: Buffer[] = [];
  return {
    bytes: size,
    pass: async ({ offset, bytes }, send) => {
      const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(Math.min(PART_BYTES, size));
      const data = buffer.subarray(0, bytes);
      const hash = createHash('sha256');
      for (let filled = 0; filled < bytes;) {
        const piece = data.subarray(filled, filled + PIECE_BYTES);
        const { bytesRead } = await handle.read(piece, 0, piece.length, offset + filled);
        if (bytesRead === 0) {
          throw new StoreError('invalid-object', url, 'the local file changed while it was uploaded');
        }
        hash.update(piece.subarray(0, bytesRead));
        filled += bytesRead;
      }
      const result = await send({ offset, bytes, sha256: toDigest(hash.digest('hex')) }, data);
      spare.push(buffer);
      return result;
    },
  };
}

async function upload(
  store: ObjectStore,
  url: string,
  path: string,
  { bytes, pass }: Contents,
): Promise<StoredFile> {
  if (bytes > PART_BYTES) return { path, bytes, parts: await uploadParts(store, url, { bytes, pass }) };
  const part = await pass({ offset: 0, bytes }, async (part, data) => {
    await store.put(url, data, part.sha256);
    return part;
  });
  return { path, bytes, parts: [part] };
}

async function uploadParts(store: ObjectStore, url: string, { bytes, pass }: Contents): Promise<Part[]> {
  const { client } = store;
  const { bucket: Bucket, key: Key } = parseUrl(url);
  return translating(url, async () => {
    const begin = new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm: 'SHA256' });
    const { UploadId } = await client.send(begin);
    const target = { Bucket, Key, UploadId };
    try {
      const sent = await mapConcurrently(spansOf(bytes), PARALLEL, (span) =>
        pass(span, async (part, data) => {
          const known = { PartNumber: part.offset / PART_BYTES + 1, ChecksumSHA256: toBase64(part.sha256) };
          const { ETag } = await client.send(new UploadPartCommand({ ...target, ...known, Body: data }));
          return { part, known: { ...known, ETag } };
        }),
      );
      const Parts = sent.map(({ known }) => known);
      await client.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts } }));
      return sent.map(({ part }) => part);
    } catch (error) {
      // What can't be aborted now is found stale later; the error that matters is the first.
      await client.send(new AbortMultipartUploadCommand(target)).catch(() => undefined);
      throw error;
    }
  });
}

function spansOf(bytes: number): { readonly offset: number; readonly bytes: number }[] {
  return Array.from({ length: Math.ceil(bytes / PART_BYTES) }, (_, index) => {
    const offset = index * PART_BYTES;
    return { offset, bytes: Math.min(PART_BYTES, bytes - offset) };
  });
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
      problems.push(...(await readParts(store, `${prefixUrl}/${file.path}`, file, handle)));
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
    problems.push(...(await readParts(store, `${prefixUrl}/${file.path}`, file, null)));
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
      const info = await store.head(`${prefixUrl}/${file.path}`);
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
  part: Part,
  into: FileHandle | null,
): Promise<string | null> {
  try {
    return await readPart(store, url, file, part, into);
  } catch (error) {
    if (isStoreError(error, 'not-found')) return `${file.path} is gone`;
    if (isStoreError(error, 'refused') && isOutOfRange(error)) {
      return `${file.path} is shorter than its ${String(file.bytes)} bytes`;
    }
    throw error;
  }
}

function isOutOfRange(error: StoreError): boolean {
  return error.cause instanceof Error && error.cause.name === 'InvalidRange';
}

async function readPart(
  store: ObjectStore,
  url: string,
  file: StoredFile,
  part: Part,
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
