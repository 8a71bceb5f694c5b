/** The bytes of one file, read once from its start: only regular files, with a deadline, and with the digest of what was read. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';

const CHUNK_BYTES = 256 * 1024;
const SMALL_CHUNK_BYTES = 4096;
/** Longest wait for one step of the file system, where the roots of the sources say no other: a disk or a share that is gone. */
const DEADLINE_MS = 60_000;
/** Largest file, bytes, stored or unpacked. */
export const MAX_FILE_BYTES = 64 * 2 ** 30;
/** File systems of the kernel's own, whose files claim to be regular: proc, sysfs, debugfs, tracefs, cgroup, securityfs, devpts. */
const KERNEL_FILE_SYSTEMS = new Set([
  0x9fa0, 0x62656572, 0x64626720, 0x74726163, 0x27e0eb, 0x63677270, 0x73636673, 0x1cd1,
]);

/** By device: sources have many files on few. */
const ofKernel = new Map<number, boolean>();

async function isOfKernel(path: string, device: number, deadlineMs: number): Promise<boolean> {
  const known = ofKernel.get(device);
  if (known !== undefined) return known;
  const found = KERNEL_FILE_SYSTEMS.has((await inTime(path, statfs(path), deadlineMs)).type);
  ofKernel.set(device, found);
  return found;
}

/** What is wrong with a file, as its manifest tells it. */
export class FileProblem extends Error {
  override readonly name = 'FileProblem';
}

/** A file gave nothing for too long. It may again: a retry is due, not a bad file. */
export class FileDeadlineError extends Error {
  override readonly name = 'FileDeadlineError';
  /** As an error of the operating system has it: whoever is told sees to the machine. */
  readonly code = 'ETIME';
  readonly syscall = 'read';

  constructor(path: string, deadlineMs: number) {
    super(`${path} gave nothing in ${deadlineMs / 1000} s`);
  }
}

/** A file that is being read. */
export class FileBytes {
  private readonly hash = createHash('sha256');
  private readonly chunks: AsyncGenerator<Uint8Array, void, undefined>;
  private failure: { readonly error: unknown } | undefined;

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    /** As the file system says; kernel's files and files that grow have more. */
    readonly sizeBytes: number,
    private readonly deadlineMs: number,
  ) {
    this.chunks = this.read();
  }

  /**
   * Opens a file.
   * @param deadlineMs longest wait for each step of it, from here to its end
   * @throws FileProblem for anything but a regular file of a real file system; errors of the file system; FileDeadlineError.
   */
  static async open(path: string, deadlineMs = DEADLINE_MS): Promise<FileBytes> {
    // A pipe without a writer would hold its opener.
    const opening = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const handle = await inTime(path, opening, deadlineMs);
    try {
      const stat = await inTime(path, handle.stat(), deadlineMs);
      if (!stat.isFile()) throw new FileProblem('not a regular file');
      if (await isOfKernel(path, stat.dev, deadlineMs))
        throw new FileProblem('not a file of a disk, but of the system');
      if (stat.size > MAX_FILE_BYTES) throw new FileProblem(`larger than ${MAX_FILE_BYTES} bytes`);
      return new FileBytes(path, handle, stat.size, deadlineMs);
    } catch (error) {
      await closed(path, handle, deadlineMs);
      throw error;
    }
  }

  /** Its bytes, unpacked where its name ends in `.gz`. @throws errors of gzip and the file system, FileProblem, FileDeadlineError. */
  async *content(): AsyncGenerator<Uint8Array, void, undefined> {
    let bytes = 0;
    for await (const chunk of this.path.endsWith('.gz') ? this.unpacked() : this.stored()) {
      bytes += chunk.length;
      if (bytes > MAX_FILE_BYTES) throw new FileProblem(`larger than ${MAX_FILE_BYTES} bytes, unpacked`);
      yield chunk;
    }
  }

  /** Reads what is left, and gives the digest of everything: 64 hex digits. @throws what ended reading. */
  async digest(): Promise<string> {
    while ((await this.chunks.next()).done !== true);
    if (this.failure !== undefined) throw this.failure.error;
    return this.hash.digest('hex');
  }

  async close(): Promise<void> {
    await closed(this.path, this.handle, this.deadlineMs);
  }

  /** Not `yield* this.chunks`: whoever stops early would end them, and with them the digest. */
  private async *stored(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let next = await this.chunks.next(); next.done !== true; next = await this.chunks.next())
      yield next.value;
  }

  private async *unpacked(): AsyncGenerator<Uint8Array, void, undefined> {
    const gunzip = createGunzip();
    const feeding = pipeline(Readable.from(this.stored()), gunzip);
    // A failure reaches whoever iterates.
    feeding.catch(() => undefined);
    for await (const chunk of gunzip) if (chunk instanceof Uint8Array) yield chunk;
  }

  private async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let bytes = 0; ;) {
      const chunk = await this.next(bytes);
      if (chunk.length === 0) return;
      bytes += chunk.length;
      this.hash.update(chunk);
      yield chunk;
    }
  }

  /** The bytes at a place; none at the end. */
  private async next(at: number): Promise<Uint8Array> {
    // No larger than the file: sources have many small ones.
    const buffer = new Uint8Array(
      Math.min(CHUNK_BYTES, Math.max(this.sizeBytes - at + 1, SMALL_CHUNK_BYTES)),
    );
    try {
      if (at > MAX_FILE_BYTES) throw new FileProblem(`larger than ${MAX_FILE_BYTES} bytes`);
      const reading = this.handle.read(buffer, 0, buffer.length, at);
      const { bytesRead } = await inTime(this.path, reading, this.deadlineMs);
      return buffer.subarray(0, bytesRead);
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }
}

/** Closes a file. One of which a step never returned can't be closed either, and must not keep anybody. */
async function closed(path: string, handle: FileHandle, deadlineMs: number): Promise<void> {
  await inTime(path, handle.close(), deadlineMs).catch(() => undefined);
}

/** What a step of the file system gives, unless it takes too long. @throws FileDeadlineError */
export async function inTime<T>(path: string, step: Promise<T>, deadlineMs = DEADLINE_MS): Promise<T> {
  let deadline: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    deadline = setTimeout(() => reject(new FileDeadlineError(path, deadlineMs)), deadlineMs);
  });
  try {
    return await Promise.race([step, late]);
  } finally {
    clearTimeout(deadline);
  }
}

/** An error of the file system or of gzip in a few words. */
export function problemOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code === undefined) return error.message;
  return code.startsWith('Z_') ? `damaged gzip (${code})` : `unreadable (${code})`;
}
