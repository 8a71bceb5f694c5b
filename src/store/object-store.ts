/** Objects in an S3 store: reading, writing, conditional writing, listing, deleting. */
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { GetObjectCommandOutput, ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import type { Digest } from '../contracts/index.js';
import { askAgainByTheStoresClock } from './clock-skew.js';
import { sha256, toBase64 } from './digest.js';
import { StoreError, answerIn, isStoreError, translateError } from './errors.js';
import { formatUrl, parseUrl } from '../contracts/layout.js';
import { readCredentials, renewRefusedCredentials } from './renewed-credentials.js';

/** How to reach a store. Credentials come from the environment (`AWS_*`), a profile or the instance, and are read anew when refused. */
export interface StoreSettings {
  /** http(s) address; undefined: AWS's own for the region. */
  readonly endpoint?: string | undefined;
  readonly region: string;
  /** Tries of one request before it counts as failed. Default 4. */
  readonly maxAttempts?: number | undefined;
  /** A request without a byte in either direction for so long counts as failed, as in a partition. Default 60 seconds. */
  readonly idleMs?: number | undefined;
}

/** An object's bytes and its ETag. */
export interface StoredObject {
  readonly data: Uint8Array;
  readonly etag: string;
  /** Its age by the store's own clock, seconds; null where the store doesn't tell. */
  readonly ageSeconds: number | null;
}

/** What the store says of an object. */
export interface ObjectInfo {
  readonly url: string;
  readonly bytes: number;
  readonly etag: string;
  /** SHA-256 as the store reports it (see `storedChecksum`), null where it reports none. */
  readonly sha256: string | null;
}

/** An object in a listing. */
export interface ListedObject {
  readonly url: string;
  readonly bytes: number;
  readonly modifiedAt: Date | null;
}

/** A parsed object with its ETag. */
export interface Parsed<T> {
  readonly value: T;
  readonly etag: string;
}

/** An S3 client as this project uses it: path style for other endpoints than AWS's, checksums of our own. */
export function createS3Client(settings: StoreSettings): S3Client {
  const client = new S3Client({
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint, forcePathStyle: true }),
    region: settings.region,
    credentials: readCredentials(),
    maxAttempts: settings.maxAttempts ?? 4,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Not requestTimeout: that one only warns, and made to fail it would end slow uploads too.
    requestHandler: { connectionTimeout: 5_000, socketTimeout: settings.idleMs ?? 60_000 },
  });
  renewRefusedCredentials(client);
  askAgainByTheStoresClock(client);
  client.middlewareStack.add(
    (next) => (args) => {
      // A body whose SHA-256 is sent along need not be hashed again to be signed.
      const { request } = args;
      const checksum = hasHeaders(request) ? request.headers['x-amz-checksum-sha256'] : undefined;
      if (hasHeaders(request) && checksum !== undefined) {
        request.headers['x-amz-content-sha256'] = Buffer.from(checksum, 'base64').toString('hex');
      }
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'signKnownDigest' },
  );
  client.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args);
      const { response, output } = answer;
      const date = new Date(hasHeaders(response) ? (response.headers['date'] ?? '') : '');
      if (output !== undefined && !Number.isNaN(+date)) DATES.set(output.$metadata, date);
      return answer;
    },
    { step: 'deserialize', priority: 'high', name: 'noteDate' },
  );
  return client;
}

/** What time it was by the store's clock, by the metadata of its answer: the SDK keeps no answer's `Date`. */
const DATES = new WeakMap<object, Date>();

function hasHeaders(request: unknown): request is { readonly headers: Record<string, string> } {
  return typeof request === 'object' && request !== null && 'headers' in request;
}

/** Tries of a create-only write whose answers tell nothing, before the store counts as in trouble. */
const CREATE_TRIES = 6;

/** JSON as the project stores it: readable, one trailing newline. */
export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, null, 1)}\n`);
}

/** Largest object that is read whole where a caller says nothing else: shards and parts have 64 MiB. */
const MAX_OBJECT_BYTES = 128 * 2 ** 20;

/** How much of an object is read into memory at most. */
export interface ReadLimit {
  readonly maxBytes?: number;
}

/** The body of an answer. @throws StoreError `invalid-object` as soon as it is known to be larger. */
async function readAtMost(
  url: string,
  answer: GetObjectCommandOutput,
  maxBytes: number,
): Promise<Uint8Array> {
  const { Body: body, ContentLength: length } = answer;
  if (!(body instanceof Readable)) return new Uint8Array();
  if (length !== undefined && length <= maxBytes) return body.transformToByteArray();
  const chunks: Uint8Array[] = [];
  let bytes = length ?? 0;
  // Only an answer without its length has to be counted.
  if (length === undefined)
    for await (const chunk of body) {
      if (chunk instanceof Uint8Array) chunks.push(chunk);
      bytes += chunks.at(-1)?.length ?? 0;
      if (bytes > maxBytes) break;
    }
  if (bytes <= maxBytes) return Buffer.concat(chunks);
  // What isn't read would keep the connection.
  body.destroy();
  throw new StoreError(
    'invalid-object',
    url,
    `has ${length ?? `more than ${maxBytes}`} bytes, and at most ${maxBytes} are read`,
  );
}

/** Objects of an S3 store, addressed by `s3://bucket/key`. Every method throws StoreError. */
export class ObjectStore {
  constructor(readonly client: S3Client) {}

  /** A store as settings say. */
  static connect(settings: StoreSettings): ObjectStore {
    return new ObjectStore(createS3Client(settings));
  }

  /** Close the connections. */
  close(): void {
    this.client.destroy();
  }

  /**
   * The object, read whole into memory.
   * @param maxBytes a larger one is refused, before it is read where the store says how large it is
   * @throws StoreError `not-found` and others; `invalid-object` for a larger one.
   */
  async get(url: string, { maxBytes = MAX_OBJECT_BYTES }: ReadLimit = {}): Promise<StoredObject> {
    const { bucket, key } = parseUrl(url);
    return translating(url, async () => {
      const answer = await this.client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      const data = await readAtMost(url, answer, maxBytes);
      const [now, writtenAt] = [DATES.get(answer.$metadata), answer.LastModified];
      const ageSeconds = now === undefined || writtenAt === undefined ? null : (+now - +writtenAt) / 1000;
      return { data, etag: etagIn(url, answer), ageSeconds };
    });
  }

  /** The object, or null when the store says there is none. */
  async find(url: string, limit: ReadLimit = {}): Promise<StoredObject | null> {
    return orNull(this.get(url, limit));
  }

  /** What time it is by the clock of the store below a prefix; null where it doesn't tell. */
  async now(prefixUrl: string): Promise<Date | null> {
    const { bucket, key } = parseUrl(prefixUrl);
    const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: `${key}/`, MaxKeys: 1 });
    const { $metadata: metadata } = await translating(prefixUrl, () => this.client.send(command));
    return DATES.get(metadata) ?? null;
  }

  /** The object, which must have this digest; read twice before it counts as wrong. */
  async getVerified(url: string, digest: Digest): Promise<Uint8Array> {
    for (let read = 0; read < 2; read += 1) {
      const { data } = await this.get(url);
      if (sha256(data) === digest) return data;
    }
    throw new StoreError('invalid-object', url, `does not have the digest ${digest}`);
  }

  /** The object, parsed. @throws StoreError `not-found`; `invalid-object` naming every problem with its path. */
  async getJson<T>(url: string, schema: z.ZodType<T>): Promise<Parsed<T>> {
    const { data, etag } = await this.get(url);
    return { value: parseJson(url, data, schema), etag };
  }

  /** The object, parsed, or null when there is none. */
  async findJson<T>(url: string, schema: z.ZodType<T>): Promise<Parsed<T> | null> {
    return orNull(this.getJson(url, schema));
  }

  /** Size, ETag and checksum. @throws StoreError `not-found` and others. */
  async head(url: string): Promise<ObjectInfo> {
    const { bucket, key } = parseUrl(url);
    try {
      const command = new HeadObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: 'ENABLED' });
      const answer = await this.client.send(command);
      return {
        url,
        bytes: answer.ContentLength ?? 0,
        etag: etagIn(url, answer),
        sha256: answer.ChecksumSHA256 ?? null,
      };
    } catch (error) {
      const refused = answerIn(error);
      if (refused !== null && refused.status < 500) await this.#askForWord(url);
      throw translateError(url, error);
    }
  }

  /**
   * Asks for an object in a way that lets the store say in its own words what is wrong: an answer to a HEAD has no body, so a 404
   * of the store and one of a proxy look alike.
   * @throws StoreError what the words mean; returns when nothing is wrong.
   */
  async #askForWord(url: string): Promise<void> {
    const { bucket, key } = parseUrl(url);
    try {
      const command = new GetObjectCommand({ Bucket: bucket, Key: key, Range: 'bytes=0-0' });
      const answer = await this.client.send(command);
      await answer.Body?.transformToByteArray();
    } catch (cause) {
      const error = translateError(url, cause);
      // An empty object has no first byte, but it is there.
      if (!isStoreError(error, 'out-of-range')) throw error;
    }
  }

  /** Whether an object is there. */
  async exists(url: string): Promise<boolean> {
    return (await orNull(this.head(url))) !== null;
  }

  /** Writes unconditionally. Returns the new ETag. */
  async put(url: string, data: Uint8Array): Promise<string> {
    return this.#write(url, data, {});
  }

  /** Writes a value as JSON, after checking it against its schema. */
  async putJson<T>(url: string, schema: z.ZodType<T>, value: T): Promise<string> {
    return this.put(url, encodeJson(schema.parse(value)));
  }

  /**
   * Writes where nothing is (`If-None-Match: *`). An ambiguous answer is settled by reading again: the same bytes being
   * there counts as this write, whoever sent it. Refused or unanswered with nothing there, it is tried again: a store may say
   * no to writers that only met (409), and to one whose rival failed.
   * @throws StoreError `precondition-failed` only when something else is there; `unavailable` when nothing ever was.
   */
  async create(url: string, data: Uint8Array): Promise<void> {
    let trouble: unknown;
    for (let tries = 0; tries < CREATE_TRIES; tries += 1) {
      if (tries > 0) await sleep(Math.random() * 20 * 2 ** tries);
      try {
        await this.#write(url, data, { IfNoneMatch: '*' });
        return;
      } catch (error) {
        if (!isStoreError(error, 'precondition-failed', 'unavailable')) throw error;
        trouble = error;
      }
      const found = await this.find(url);
      if (found === null) continue;
      if (Buffer.compare(found.data, data) === 0) return;
      throw new StoreError('precondition-failed', url, 'something else is there', { cause: trouble });
    }
    throw new StoreError('unavailable', url, 'could not be written, and nothing is there', {
      cause: trouble,
    });
  }

  /**
   * Writes if the object still has `etag` (`If-Match`). Returns the new ETag. `precondition-failed` and `unavailable` are
   * both ambiguous: only what is there now can tell whether this write landed.
   */
  async replace(url: string, data: Uint8Array, etag: string): Promise<string> {
    return this.#write(url, data, { IfMatch: etag });
  }

  /** Every object below a prefix, in order of key. */
  async *list(prefixUrl: string): AsyncGenerator<ListedObject> {
    const { bucket } = parseUrl(prefixUrl);
    for await (const page of this.#pages(prefixUrl, {})) {
      for (const { Key: key, Size: bytes, LastModified: modifiedAt } of page.Contents ?? []) {
        if (key !== undefined)
          yield { url: formatUrl({ bucket, key }), bytes: bytes ?? 0, modifiedAt: modifiedAt ?? null };
      }
    }
  }

  /** Names one level below a prefix that have something below them. */
  async folders(prefixUrl: string): Promise<string[]> {
    const names: string[] = [];
    for await (const page of this.#pages(prefixUrl, { Delimiter: '/' })) {
      for (const { Prefix: prefix } of page.CommonPrefixes ?? []) {
        const name = prefix?.split('/').at(-2);
        if (name !== undefined) names.push(name);
      }
    }
    return names;
  }

  /** Objects directly below a prefix, none of its folders'. */
  async files(prefixUrl: string): Promise<string[]> {
    const { bucket } = parseUrl(prefixUrl);
    const urls: string[] = [];
    for await (const page of this.#pages(prefixUrl, { Delimiter: '/' })) {
      for (const { Key: key } of page.Contents ?? []) {
        if (key !== undefined) urls.push(formatUrl({ bucket, key }));
      }
    }
    return urls;
  }

  /** Deletes objects in the order given; missing ones are fine. */
  async delete(urls: Iterable<string>): Promise<void> {
    for (const url of urls) {
      const { bucket, key } = parseUrl(url);
      await translating(url, () => this.client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key })));
    }
  }

  async #write(
    url: string,
    data: Uint8Array,
    condition: { IfMatch: string } | { IfNoneMatch: '*' } | Record<string, never>,
  ): Promise<string> {
    const { bucket, key } = parseUrl(url);
    const body = { Bucket: bucket, Key: key, Body: data, ChecksumSHA256: toBase64(sha256(data)) };
    return translating(url, async () => {
      return etagIn(url, await this.client.send(new PutObjectCommand({ ...body, ...condition })));
    });
  }

  async *#pages(
    prefixUrl: string,
    options: { Delimiter?: string },
  ): AsyncGenerator<ListObjectsV2CommandOutput> {
    const { bucket, key } = parseUrl(prefixUrl);
    let token: string | undefined;
    do {
      const request = { Bucket: bucket, Prefix: `${key}/`, ContinuationToken: token, ...options };
      const page = await translating(prefixUrl, () => this.client.send(new ListObjectsV2Command(request)));
      if (page.Name === undefined) throw noStores(prefixUrl);
      yield page;
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }
}

/** Parses JSON bytes. @throws StoreError `invalid-object` naming every problem with its path. */
export function parseJson<T>(url: string, data: Uint8Array, schema: z.ZodType<T>): T {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
  } catch (cause) {
    throw new StoreError('invalid-object', url, 'is not JSON', { cause });
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${pathsOf(issue).join(', ')}: ${issue.message}`);
  throw new StoreError('invalid-object', url, `is invalid: ${problems.join('; ')}`);
}

/** Where an issue lies; for keys that should not be there, each of them. */
function pathsOf(issue: z.core.$ZodIssue): string[] {
  const path = formatJsonPath(issue.path);
  return issue.code === 'unrecognized_keys' ? issue.keys.map((key) => `${path}.${key}`) : [path];
}

function formatJsonPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => text + (typeof key === 'number' ? `[${key}]` : `.${String(key)}`),
    '$',
  );
}

/** The ETag that every answer of a store about an object carries. @throws StoreError `unavailable`: it isn't the store's. */
function etagIn(url: string, { ETag: etag }: { readonly ETag?: string | undefined }): string {
  if (etag === undefined || etag === '') throw noStores(url);
  return etag;
}

/** An answer of success that lacks what a store's has: a proxy's or portal's page. */
function noStores(url: string): StoreError {
  return new StoreError('unavailable', url, 'what answered is no object store');
}

/** Runs a request; what the AWS SDK throws becomes a StoreError. */
export async function translating<T>(url: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw translateError(url, error);
  }
}

async function orNull<T>(read: Promise<T>): Promise<T | null> {
  try {
    return await read;
  } catch (error) {
    if (isStoreError(error, 'not-found')) return null;
    throw error;
  }
}
