// @ts-check
/** Digests, JSON files written in one piece, and what can be told from a file without reading it. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

/**
 * SHA-256 of a file, lower-case hex, without holding the file in memory.
 *
 * @param {string} file
 */
export async function sha256File(file) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/**
 * SHA-256 of texts in order, lower-case hex.
 *
 * @param {...string} texts
 */
export function sha256Text(...texts) {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(text).update('\0');
  return hash.digest('hex');
}

/**
 * A fresh name beside a path, for writing a file that is then renamed into place.
 *
 * @param {string} target
 */
export function temporaryBeside(target) {
  return path.join(
    path.dirname(target),
    `.tmp-${path.basename(target)}-${process.pid}-${randomBytes(4).toString('hex')}`,
  );
}

/**
 * Writes JSON so that a reader sees the old file or the new one, never a part of it.
 *
 * @param {string} file
 * @param {unknown} value
 * @param {number} [mode] Permissions, 0o644 by default
 */
export async function writeJson(file, value, mode = 0o644) {
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = temporaryBeside(file);
  await writeFile(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode });
  await rename(temporary, file);
}

/**
 * Reads JSON; undefined when the file is missing or isn't JSON, which both mean "make it anew".
 *
 * @param {string} file
 * @returns {Promise<unknown>}
 * @throws when there is a file that can't be read
 */
export async function readJson(file) {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * Whether an error says that there is no such file.
 *
 * @param {unknown} error
 */
export function isMissing(error) {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/**
 * What the system said about a file or a folder, as one sentence; undefined for an error of any other kind.
 *
 * @param {unknown} error
 * @param {string} [place] What is told of instead of the path that the error has
 * @returns {string | undefined}
 */
export function systemProblem(error, place) {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && 'syscall' in error && 'path' in error) {
    const why = /^[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] ?? String(error.code);
    return `${place ?? String(error.path)} can’t be used: ${why} (${String(error.syscall)}).`;
  }
  return systemProblem(error.cause, place);
}

/**
 * Text of a file, or undefined when there is none.
 *
 * @param {string} file
 */
export async function readText(file) {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Size and time of a file: enough to tell that nobody touched it. undefined when it isn't there.
 *
 * @param {string} file
 * @returns {Promise<{ bytes: number, modifiedMs: number } | undefined>}
 */
export async function fileFacts(file) {
  try {
    const facts = await stat(file);
    return { bytes: facts.size, modifiedMs: Math.round(facts.mtimeMs) };
  } catch {
    return undefined;
  }
}

/**
 * Whether a value is a plain object, so that its fields can be looked at.
 *
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
