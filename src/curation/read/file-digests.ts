/** Digests of a source's files: what names a dataset must be what is read into it. */
import { CurationError } from '../errors.js';
import { FileBytes, FileDeadlineError, problemOf } from './file-bytes.js';
import type { SourceFile } from './source-file.js';

/** What files were when their source was opened, by path. */
export class FileDigests {
  private readonly taken = new Map<string, string>();

  /** @param deadlineMs longest wait for each step of the file system */
  constructor(private readonly deadlineMs?: number) {}

  /**
   * Reads a file through.
   * @returns 64 hex digits; for a file that can't be read its problem: it may be readable next time.
   * @throws FileDeadlineError
   */
  async take({ path }: SourceFile): Promise<string> {
    const digest = await digestOf(path, this.deadlineMs);
    this.taken.set(path, digest);
    return digest;
  }

  /**
   * @param digest of the bytes that were read now, or the problem that ended reading
   * @throws CurationError (data) when the file was another when its digest was taken.
   */
  check({ path, name }: SourceFile, digest: string): void {
    const before = this.taken.get(path);
    if (before === undefined || before === digest) return;
    throw new CurationError(
      'data',
      `${name} changed while it was read: a dataset is named after what its files are; start again when nothing writes to it`,
    );
  }
}

async function digestOf(path: string, deadlineMs: number | undefined): Promise<string> {
  let file: FileBytes | undefined;
  try {
    file = await FileBytes.open(path, deadlineMs);
    return await file.digest();
  } catch (error) {
    if (error instanceof FileDeadlineError) throw error;
    return problemOf(error);
  } finally {
    await file?.close();
  }
}
