/** SHA-256 over canonical JSON, without Node built-ins, so that workflow code can compute it. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

/** A digest as text: `sha256:<64 lower-case hex digits>`. */
export const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * JSON with keys sorted by code unit, no white space, and fields that are `undefined` left out, as JSON.stringify does.
 * Numbers are written as JavaScript writes them, which is the form of RFC 8785.
 * @throws TypeError for what JSON cannot hold: functions, bigints, NaN, infinities.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`JSON cannot hold ${value}`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object') {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
    return `{${fields.join(',')}}`;
  }
  throw new TypeError(`JSON cannot hold a ${typeof value}`);
}

/** `sha256:<64 hex digits>` of bytes. */
export function sha256OfBytes(bytes: Uint8Array): string {
  return `sha256:${bytesToHex(sha256(bytes))}`;
}

/** The same of a text's UTF-8 bytes. */
export function sha256OfText(text: string): string {
  return sha256OfBytes(utf8ToBytes(text));
}

/** The first 12 hex digits of a digest, for readable prefixes. */
export function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}

/** `sha256:<64 hex digits>` of a value's canonical JSON. */
export function digestOf(value: unknown): string {
  return sha256OfText(canonicalJson(value));
}
