/**
 * Tokenised documents on disk: written once, read at random, so that memory stays the same however much text there is.
 * A folder holds `tokens.bin` (uint32), `documents.bin` (per document 16 bytes: offset in tokens as float64, length and
 * choice as uint32) and, for dialogues, `mask.bin` (uint8 per token). All little-endian.
 */
import { closeSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const RECORD_BYTES = 16;
const WRITE_BUFFER_BYTES = 256 * 1024;

/** Where a document lies. */
export interface SpooledDocument {
  /** Of its first token. */
  readonly offset: number;
  readonly lengthTokens: number;
  /** 32 bits of its hash (read/split.ts). */
  readonly choice: number;
}

/** How much a spool holds. */
export interface SpoolSize {
  readonly documents: number;
  readonly tokens: number;
  readonly masked: boolean;
}

/** Writes a spool into a folder that it makes. */
export class SpoolWriter {
  private readonly tokensFile: AppendFile;
  private readonly documentsFile: AppendFile;
  private maskFile: AppendFile | undefined;
  private documents = 0;
  private tokens = 0;

  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true });
    this.tokensFile = new AppendFile(join(folder, 'tokens.bin'));
    this.documentsFile = new AppendFile(join(folder, 'documents.bin'));
  }

  /** Adds one document; either all documents of a spool have a mask or none has. */
  add(tokens: Uint32Array, choice: number, mask?: Uint8Array): void {
    const record = Buffer.alloc(RECORD_BYTES);
    record.writeDoubleLE(this.tokens, 0);
    record.writeUInt32LE(tokens.length, 8);
    record.writeUInt32LE(choice, 12);
    this.documentsFile.write(record);
    this.tokensFile.write(bytesOf(tokens));
    if (mask !== undefined) {
      this.maskFile ??= new AppendFile(join(this.folder, 'mask.bin'));
      this.maskFile.write(mask);
    }
    this.documents += 1;
    this.tokens += tokens.length;
  }

  /** Writes out what is buffered and closes the files. */
  close(): SpoolSize {
    for (const file of [this.tokensFile, this.documentsFile, this.maskFile]) file?.close();
    return { documents: this.documents, tokens: this.tokens, masked: this.maskFile !== undefined };
  }
}

/** Reads a finished spool. */
export class Spool {
  private readonly tokensFile: number;
  private readonly documentsFile: number;
  private readonly maskFile: number | undefined;

  constructor(
    folder: string,
    readonly size: SpoolSize,
  ) {
    this.tokensFile = openSync(join(folder, 'tokens.bin'), 'r');
    this.documentsFile = openSync(join(folder, 'documents.bin'), 'r');
    this.maskFile = size.masked ? openSync(join(folder, 'mask.bin'), 'r') : undefined;
  }

  /** The i-th document, in the order of its source. */
  document(index: number): SpooledDocument {
    const record = Buffer.alloc(RECORD_BYTES);
    readFully(this.documentsFile, record, index * RECORD_BYTES);
    return {
      offset: record.readDoubleLE(0),
      lengthTokens: record.readUInt32LE(8),
      choice: record.readUInt32LE(12),
    };
  }

  /** Copies tokens from an offset into `into`, which says how many. */
  readTokens(offset: number, into: Uint32Array): void {
    readFully(this.tokensFile, bytesOf(into), offset * 4);
  }

  /** Copies the mask of the same tokens. */
  readMask(offset: number, into: Uint8Array): void {
    if (this.maskFile === undefined) throw new Error('this spool has no mask');
    readFully(this.maskFile, into, offset);
  }

  /** Closes its files. */
  close(): void {
    for (const file of [this.tokensFile, this.documentsFile, this.maskFile])
      if (file !== undefined) closeSync(file);
  }
}

/** A list of token offsets on disk: appended to, then read at random. */
export class OffsetList {
  private readonly writer: AppendFile;
  private reader: number | undefined;
  private count = 0;

  constructor(private readonly path: string) {
    this.writer = new AppendFile(path);
  }

  get length(): number {
    return this.count;
  }

  add(offset: number): void {
    const record = Buffer.alloc(8);
    record.writeDoubleLE(offset);
    this.writer.write(record);
    this.count += 1;
  }

  /** Ends writing; `at` works from here on. */
  seal(): void {
    this.writer.close();
    this.reader = openSync(this.path, 'r');
  }

  at(index: number): number {
    if (this.reader === undefined) throw new Error('the list is still being written');
    const record = Buffer.alloc(8);
    readFully(this.reader, record, index * 8);
    return record.readDoubleLE();
  }

  close(): void {
    if (this.reader !== undefined) closeSync(this.reader);
    else this.writer.close();
  }
}

/** A file that is only appended to, through a buffer. */
class AppendFile {
  private readonly file: number;
  private readonly buffer = new Uint8Array(WRITE_BUFFER_BYTES);
  private used = 0;

  constructor(path: string) {
    this.file = openSync(path, 'w');
  }

  write(bytes: Uint8Array): void {
    if (this.used + bytes.length > this.buffer.length) this.flush();
    if (bytes.length > this.buffer.length) writeFully(this.file, bytes);
    else {
      this.buffer.set(bytes, this.used);
      this.used += bytes.length;
    }
  }

  close(): void {
    this.flush();
    closeSync(this.file);
  }

  private flush(): void {
    writeFully(this.file, this.buffer.subarray(0, this.used));
    this.used = 0;
  }
}

function bytesOf(values: Uint32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function writeFully(file: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;)
    written += writeSync(file, bytes, written, bytes.length - written);
}

function readFully(file: number, into: Uint8Array, position: number): void {
  for (let done = 0; done < into.length;) {
    const got = readSync(file, into, done, into.length - done, position + done);
    if (got === 0) throw new Error('a spool ends before what was asked of it');
    done += got;
  }
}
