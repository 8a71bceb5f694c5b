/** The chain of a ledger: its records' canonical bytes, and what is wrong with a chain as it was found. Pure. */
import { utf8ToBytes } from '@noble/hashes/utils.js';
import { canonicalJson, sha256OfBytes } from '../lib/digest.js';
import { ledgerRecordSchema } from './records.js';
import type { LedgerRecord } from './records.js';
import type { LedgerTip } from '../run/status.js';

/** The tip of a chain without records, or of one that is not known. */
export const EMPTY_CHAIN: LedgerTip = { records: 0, tip: null };

/** The one form a record is stored in: JSON with sorted keys, indented by one space, and a newline. */
export function encodeRecord(record: LedgerRecord): Uint8Array {
  const sorted: unknown = JSON.parse(canonicalJson(ledgerRecordSchema.parse(record)));
  return utf8ToBytes(`${JSON.stringify(sorted, null, 1)}\n`);
}

/** Digest of a stored record: what the next one carries as `previous`. */
export function recordDigest(bytes: Uint8Array): string {
  return sha256OfBytes(bytes);
}

/** Name of a record's object. */
export function recordName(index: number): string {
  return `${String(index).padStart(6, '0')}.json`;
}

/** The record in an object's bytes; a sentence when there is none. */
export function decodeRecord(bytes: Uint8Array): LedgerRecord | string {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return 'is not JSON';
  }
  const parsed = ledgerRecordSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
  );
  return `is no ledger record: ${problems.join('; ')}`;
}

/** An object below a chain's prefix, as it was found. */
export interface ChainObject {
  /** Name below the prefix. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A numbered object of a chain. */
export interface ChainLink {
  /** From its name. */
  readonly index: number;
  readonly digest: string;
  /** null: it can't be read. */
  readonly record: LedgerRecord | null;
}

/** Something wrong with a chain. */
export interface ChainProblem {
  /** Name of the object below the chain's prefix. */
  readonly object: string;
  readonly message: string;
}

/** A chain, and everything that is wrong with it. No problems: it is whole and in order. */
export interface CheckedChain {
  /** In order of index. */
  readonly links: readonly ChainLink[];
  readonly tip: LedgerTip;
  readonly problems: readonly ChainProblem[];
}

const RECORD_NAME = /^\d{6,}\.json$/;

/**
 * Checks that the objects are a chain: numbered without gaps, each in its canonical bytes, under its own number, with the
 * digest of the one before, and no id twice. What was cut off at the end, and a chain that was rewritten as a whole, is
 * consistent in itself: only a tip known from elsewhere tells (`tipProblem`).
 */
export function checkChain(objects: readonly ChainObject[]): CheckedChain {
  const numbered = objects.filter(({ name }) => RECORD_NAME.test(name));
  const problems: ChainProblem[] = objects
    .filter(({ name }) => !RECORD_NAME.test(name))
    .map(({ name }) => ({ object: name, message: 'does not belong into a ledger' }));
  const links: ChainLink[] = [];
  const ids = new Map<string, number>();
  for (const object of numbered.toSorted((a, b) => indexOf(a) - indexOf(b))) {
    const { link, faults } = checkLink(object, links.at(-1), ids);
    problems.push(...faults.map((message) => ({ object: object.name, message })));
    links.push(link);
  }
  const last = links.at(-1);
  return { links, tip: { records: last?.index ?? 0, tip: last?.digest ?? null }, problems };
}

function indexOf({ name }: ChainObject): number {
  return Number(name.slice(0, -'.json'.length));
}

function checkLink(object: ChainObject, before: ChainLink | undefined, ids: Map<string, number>) {
  const index = indexOf(object);
  const digest = recordDigest(object.bytes);
  const decoded = decodeRecord(object.bytes);
  const faults: string[] = [];
  const expected = (before?.index ?? 0) + 1;
  if (index !== expected) faults.push(gapText(expected, index));
  if (typeof decoded === 'string')
    return { link: { index, digest, record: null }, faults: [...faults, decoded] };
  if (!equal(encodeRecord(decoded), object.bytes)) faults.push('is not in the bytes a record is written in');
  if (decoded.index !== index) faults.push(`carries the number ${decoded.index}: it was moved`);
  // Across a gap there is nothing to compare with: the gap itself is the fault.
  if (index === expected) faults.push(...linkFaults(decoded, before));
  const twin = ids.get(decoded.id);
  if (twin !== undefined) faults.push(`has the id of ${recordName(twin)}: ${decoded.id}`);
  ids.set(decoded.id, index);
  return { link: { index, digest, record: decoded }, faults };
}

function linkFaults({ previous }: LedgerRecord, before: ChainLink | undefined): string[] {
  const expected = before?.digest ?? null;
  if (previous === expected) return [];
  if (before === undefined) return [`names a record before it (${String(previous)}), and is the first`];
  if (previous === null) return [`says that it is the first, and comes after ${recordName(before.index)}`];
  return [`follows ${previous}, but ${recordName(before.index)} has the digest ${before.digest}`];
}

function gapText(expected: number, index: number): string {
  const last = index - 1;
  if (last < expected) return `has a number that is there already`;
  const missing = recordName(expected);
  return last === expected
    ? `comes after a gap: ${missing} is missing`
    : `comes after a gap: ${missing} to ${recordName(last)} are missing`;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/**
 * Compares a chain with a tip that was kept elsewhere: in the workflow, or sealed in the parent's chain. The chain may have
 * grown since. Returns what is wrong, in one sentence; null: the chain holds what was there then, unchanged.
 */
export function tipProblem(chain: CheckedChain, known: LedgerTip): ChainProblem | null {
  if (known.records === 0) return null;
  const object = recordName(known.records);
  const link = chain.links.find(({ index }) => index === known.records);
  if (link === undefined) {
    const has = chain.tip.records === 0 ? 'is empty' : `ends with ${recordName(chain.tip.records)}`;
    return { object, message: `is missing: the chain had ${known.records} records, and now ${has}` };
  }
  if (link.digest === known.tip) return null;
  return {
    object,
    message: `was rewritten: it had the digest ${String(known.tip)}, and now has ${link.digest}`,
  };
}
