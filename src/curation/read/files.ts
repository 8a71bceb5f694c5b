/** Reading and finding text files: strict UTF-8, sorted paths, nothing larger than a document may be. */
import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CurationError } from '../errors.js';
import { isBlank } from './strip.js';
import { isHidden } from './confined.js';
import { FileBytes, FileDeadlineError, inTime, problemOf } from './file-bytes.js';
import type { FileDigests } from './file-digests.js';
import { splitLines } from './lines.js';
import type { ByteLine } from './lines.js';
import type { SourceFile } from './source.js';

/** Largest document, bytes. A larger one is named as bad: it would be held in memory whole. */
export const MAX_DOCUMENT_BYTES = 16 * 2 ** 20;
/** Longest line, bytes: a document of the largest size with every second character escaped. */
const MAX_LINE_BYTES = 2 * MAX_DOCUMENT_BYTES;

/** The problem of a file that says nothing. */
export const EMPTY = 'empty';
/** The problem of a document that is. */
export const TOO_LARGE = `larger than ${MAX_DOCUMENT_BYTES} bytes`;

/** How files are read. */
export interface Reading {
  /** What they must still be. */
  readonly digests?: FileDigests | undefined;
  /** Longest wait for each step of the file system, milliseconds. */
  readonly deadlineMs?: number | undefined;
}

/** A file's text, or what is wrong with it. */
export type FileText = { readonly text: string } | { readonly problem: string };

/**
 * Reads a file as UTF-8 with LF line ends; `.gz` is unpacked. What is wrong with it is the answer.
 * @throws CurationError when it isn't the file whose digest was taken; FileDeadlineError.
 */
export async function readText(file: SourceFile, how: Reading = {}): Promise<FileText> {
  return reading(file, how, async (bytes) => {
    if (bytes.sizeBytes > MAX_DOCUMENT_BYTES) return { problem: TOO_LARGE };
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of bytes.content()) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_DOCUMENT_BYTES) return { problem: TOO_LARGE };
    }
    return decodeText(Buffer.concat(chunks, length));
  });
}

/** Opens a file, and sees to it that it is closed, and that it was the one whose digest was taken. */
async function reading(
  file: SourceFile,
  { digests, deadlineMs }: Reading,
  read: (bytes: FileBytes) => Promise<FileText>,
): Promise<FileText> {
  let bytes: FileBytes | undefined;
  try {
    bytes = await FileBytes.open(file.path, deadlineMs);
    const result = await read(bytes).catch((error: unknown) => ({ problem: problemUnlessLate(error) }));
    digests?.check(file, await bytes.digest());
    return result;
  } catch (error) {
    const problem = problemUnlessLate(error);
    digests?.check(file, problem);
    return { problem };
  } finally {
    await bytes?.close();
  }
}

/** @throws what isn't the file's fault, or can't be told as a bad file. */
function problemUnlessLate(error: unknown): string {
  if (error instanceof FileDeadlineError || error instanceof CurationError) throw error;
  return problemOf(error);
}

/** Bytes as text: strict UTF-8 without NUL, LF line ends, no byte order mark. */
export function decodeText(bytes: Uint8Array): FileText {
  const text = decode(bytes, true);
  if (text === undefined) return { problem: 'not UTF-8' };
  if (text.includes('\0')) return { problem: 'binary: it has a NUL character' };
  if (isBlank(text)) return { problem: EMPTY };
  return { text: text.includes('\r') ? text.replaceAll(/\r\n?/g, '\n') : text };
}

function decode(bytes: Uint8Array, atStart: boolean): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: !atStart }).decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Every file below a folder that `take` wants, sorted by path; `enter` decides on subfolders by their names. Nothing hidden, no links.
 * @throws errors of the file system; FileDeadlineError.
 */
export async function listFiles(
  folder: string,
  take: (path: string) => boolean,
  enter: (name: string) => boolean,
  deadlineMs?: number,
): Promise<string[]> {
  const found: string[] = [];
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for (const entry of await inTime(next, readdir(next, { withFileTypes: true }), deadlineMs)) {
      const path = join(next, entry.name);
      if (isHidden(entry.name)) continue;
      if (entry.isDirectory() && enter(entry.name)) folders.push(path);
      else if (entry.isFile() && take(path)) found.push(path);
    }
  }
  return found.sort(byCodeUnit);
}

/** The order of paths everywhere: by code unit, whatever the machine's locale. */
export function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** @throws CurationError (user-error) when a path isn't a folder; FileDeadlineError. */
export async function requireFolder(path: string, whatFor: string, deadlineMs?: number): Promise<void> {
  const found = await statOf(path, deadlineMs);
  if (found?.isDirectory() !== true)
    throw new CurationError('user-error', `${whatFor}: there is no folder ${path}`);
}

/** @throws CurationError (user-error) when a path isn't a file; FileDeadlineError. */
export async function requireFile(path: string, whatFor: string, deadlineMs?: number): Promise<void> {
  const found = await statOf(path, deadlineMs);
  if (found?.isFile() !== true) throw new CurationError('user-error', `${whatFor}: there is no file ${path}`);
}

function statOf(path: string, deadlineMs: number | undefined): Promise<Stats | undefined> {
  return inTime(
    path,
    stat(path).catch(() => undefined),
    deadlineMs,
  );
}

/** A line, a bad line, or what ended the reading and how many lines' worth that is. */
export type FileLine =
  | { readonly kind: 'line'; readonly number: number; readonly line: string }
  | { readonly kind: 'bad-line'; readonly number: number; readonly problem: string }
  | { readonly kind: 'bad-file'; readonly problem: string; readonly lines: number };

/**
 * A file line by line (`.gz` unpacked), in constant memory but for the longest line. Where reading ends in damage, nobody knows how
 * much is gone; it counts as much as was read.
 * @throws CurationError when it isn't the file whose digest was taken; FileDeadlineError.
 */
export async function* readLines(
  file: SourceFile,
  { digests, deadlineMs }: Reading = {},
): AsyncGenerator<FileLine, void, undefined> {
  let bytes: FileBytes | undefined;
  let number = 0;
  try {
    bytes = await FileBytes.open(file.path, deadlineMs);
    for await (const line of splitLines(bytes.content(), MAX_LINE_BYTES)) {
      number = line.number;
      yield decodeLine(line);
    }
    if (number === 0) yield { kind: 'bad-file', problem: EMPTY, lines: 1 };
    digests?.check(file, await bytes.digest());
  } catch (error) {
    const problem = problemUnlessLate(error);
    digests?.check(file, (await bytes?.digest().catch(problemUnlessLate)) ?? problem);
    const gone = `${problem} after ${number} lines: what is gone is counted as as much again`;
    yield { kind: 'bad-file', problem: number === 0 ? problem : gone, lines: Math.max(1, number) };
  } finally {
    await bytes?.close();
  }
}

function decodeLine(line: ByteLine): FileLine {
  const { number } = line;
  if ('tooLong' in line)
    return { kind: 'bad-line', number, problem: `a line longer than ${MAX_LINE_BYTES} bytes` };
  const text = decode(line.bytes, number === 1);
  return text === undefined
    ? { kind: 'bad-line', number, problem: 'not UTF-8' }
    : { kind: 'line', number, line: text };
}
