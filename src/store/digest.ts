/** SHA-256 as the contracts write it, and the checksums that stores report. */
import { createHash } from 'node:crypto';
import { digestSchema, PART_BYTES } from '../contracts/index.js';
import type { Digest, StoredFile } from '../contracts/index.js';

/** `sha256:<hex>` of bytes or of a text's UTF-8. */
export function sha256(data: Uint8Array | string): Digest {
  return toDigest(createHash('sha256').update(data).digest('hex'));
}

/** A digest from its 64 hex digits. */
export function toDigest(hex: string): Digest {
  return digestSchema.parse(`sha256:${hex}`);
}

/** A digest as the base64 that S3's checksum headers carry. */
export function toBase64(digest: Digest): string {
  return Buffer.from(digest.slice('sha256:'.length), 'hex').toString('base64');
}

/** SHA-256 over the lines `<path> <part sha256>` of all files in order: a checkpoint manifest's `rootDigest`. */
export function rootDigest(files: readonly StoredFile[]): Digest {
  return sha256(files.flatMap(({ path, parts }) => parts.map((part) => `${path} ${part.sha256}\n`)).join(''));
}

/** SHA-256 over the lines `<path> <sha256>`, sorted by path: one digest for many objects. */
export function treeDigest(files: Iterable<readonly [path: string, digest: string]>): Digest {
  const lines = [...files].map(([path, digest]) => `${path} ${digest}\n`);
  return sha256(lines.sort().join(''));
}

/**
 * The SHA-256 checksum a store reports for a file of these parts: base64 of the digest, and for a multipart object
 * `<base64 of the digest over the parts' digests>-<number of parts>`.
 */
export function storedChecksum(parts: StoredFile['parts']): string {
  const digests = parts.map((part) => Buffer.from(part.sha256.slice('sha256:'.length), 'hex'));
  const [only] = digests;
  if (only !== undefined && digests.length === 1) return only.toString('base64');
  const composite = createHash('sha256').update(Buffer.concat(digests)).digest('base64');
  return `${composite}-${digests.length}`;
}

/** Digests the parts of a byte stream as it passes. */
export class PartDigester {
  readonly #parts: { offset: number; bytes: number; sha256: Digest }[] = [];
  #hash = createHash('sha256');
  #offset = 0;
  #bytes = 0;

  /** Take the next bytes. */
  update(data: Uint8Array): void {
    let rest = data;
    while (rest.length > 0) {
      const taken = rest.subarray(0, PART_BYTES - this.#bytes);
      this.#hash.update(taken);
      this.#bytes += taken.length;
      rest = rest.subarray(taken.length);
      if (this.#bytes === PART_BYTES) this.#close();
    }
  }

  /** The file's entry for a manifest, once all bytes have passed. An empty file has one part of no bytes. */
  finish(path: string): StoredFile {
    if (this.#bytes > 0 || this.#parts.length === 0) this.#close();
    return { path, bytes: this.#offset, parts: this.#parts };
  }

  #close(): void {
    this.#parts.push({
      offset: this.#offset,
      bytes: this.#bytes,
      sha256: toDigest(this.#hash.digest('hex')),
    });
    this.#offset += this.#bytes;
    this.#bytes = 0;
    this.#hash = createHash('sha256');
  }
}

/** The entry of a file held in memory. */
export function describeBytes(path: string, data: Uint8Array): StoredFile {
  const digester = new PartDigester();
  digester.update(data);
  return digester.finish(path);
}

/** The first file whose name leaves its folder or that its parts do not cover exactly; null when there is none. */
export function coverageProblem(files: readonly StoredFile[]): string | null {
  for (const { path, bytes, parts } of files) {
    if (path.startsWith('/') || path.split('/').includes('..')) {
      return `${JSON.stringify(path)} is not a name below the prefix`;
    }
    let end = 0;
    for (const part of parts) {
      if (part.offset !== end) return `the parts of ${path} do not cover it`;
      end += part.bytes;
    }
    if (end !== bytes) return `the parts of ${path} do not cover it`;
  }
  return null;
}
