/** Reading and finding text files: strict UTF-8, sorted paths, nothing larger than a document may be. */
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import { CurationError } from '../errors.js';
import { isBlank } from '../strip.js';

/** Largest document, bytes. A larger file is named as bad: it would be held in memory whole. */
export const MAX_DOCUMENT_BYTES = 16 * 2 ** 20;

/** The problem of a file that says nothing. */
export const EMPTY = 'empty';

/** A file's text, or what is wrong with it. */
export type FileText = { readonly text: string } | { readonly problem: string };

/** Reads a file as UTF-8 with LF line ends; `.gz` is unpacked. Never throws: what is wrong is the answer. */
export async function readText(path: string): Promise<FileText> {
  try {
    if ((await stat(path)).size > MAX_DOCUMENT_BYTES)
      return { problem: `larger than ${MAX_DOCUMENT_BYTES} bytes` };
    const stored = await readFile(path);
    const bytes = path.endsWith('.gz')
      ? await promisify(gunzip)(stored, { maxOutputLength: MAX_DOCUMENT_BYTES })
      : stored;
    return decodeText(bytes);
  } catch (error) {
    return { problem: problemOf(error) };
  }
}

/** Bytes as text: strict UTF-8 without NUL, LF line ends, no byte order mark. */
export function decodeText(bytes: Uint8Array): FileText {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return { problem: 'not UTF-8' };
  }
  if (text.includes('\0')) return { problem: 'binary: it has a NUL character' };
  if (isBlank(text)) return { problem: EMPTY };
  return { text: text.includes('\r') ? text.replaceAll(/\r\n?/g, '\n') : text };
}

/** Every file below a folder that `take` wants, sorted by path; `enter` decides on subfolders by their names. */
export async function listFiles(
  folder: string,
  take: (path: string) => boolean,
  enter: (name: string) => boolean,
): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && enter(entry.name)) found.push(...(await listFiles(path, take, enter)));
    else if (entry.isFile() && take(path)) found.push(path);
  }
  return found.sort(byCodeUnit);
}

/** The order of paths everywhere: by code unit, whatever the machine's locale. */
export function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** @throws CurationError (user-error) when a path isn't a folder. */
export async function requireFolder(path: string, whatFor: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true)
    throw new CurationError('user-error', `${whatFor}: there is no folder ${path}`);
}

/** @throws CurationError (user-error) when a path isn't a file. */
export async function requireFile(path: string, whatFor: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) throw new CurationError('user-error', `${whatFor}: there is no file ${path}`);
}

/** One line of a file, or what ended the reading. */
export type FileLine = { readonly number: number; readonly line: string } | { readonly problem: string };

/** A file line by line (`.gz` unpacked), in constant memory but for the longest line. */
export async function* readLines(path: string): AsyncGenerator<FileLine, void, undefined> {
  const stored = createReadStream(path);
  const bytes: Readable = path.endsWith('.gz') ? stored.pipe(createGunzip()) : stored;
  let failure: unknown;
  stored.on('error', (error) => bytes.destroy(error));
  bytes.on('error', (error) => (failure = error));
  let number = 0;
  try {
    for await (const line of createInterface({ input: bytes, crlfDelay: Infinity }))
      yield { number: ++number, line };
  } catch (error) {
    failure = error;
  } finally {
    stored.destroy();
  }
  if (failure !== undefined) yield { problem: problemOf(failure) };
  else if (number === 0) yield { problem: EMPTY };
}

/** An error of the file system or of gzip in a few words. */
export function problemOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code === undefined) return error.message;
  if (code.startsWith('Z_') || code === 'ERR_BUFFER_TOO_LARGE') return `damaged gzip (${code})`;
  return `unreadable (${code})`;
}
