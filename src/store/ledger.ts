/** Chains of the ledger in the object store: appending that can be repeated and raced, and reading. */
import { EMPTY_CHAIN, decodeRecord, encodeRecord, recordDigest } from '../domain/ledger/chain.js';
import type { ChainObject } from '../domain/ledger/chain.js';
import type { LedgerEntry, LedgerRecord } from '../domain/ledger/records.js';
import type { LedgerTip } from '../domain/run/status.js';
import { isStoreError } from './errors.js';
import { ledgerRecordUrl, pathBelow } from '../contracts/layout.js';
import type { ObjectStore } from './object-store.js';
import { mapConcurrently } from './transfer.js';

/** Something to record. */
export interface AppendInput {
  /** Unique per append: owner token, "#", and what. A repeated append has the same id, and leaves one record. */
  readonly id: string;
  /**
   * Newest record that the caller knows of: the new one goes behind it and is chained to *this* digest. So a chain that was
   * rewritten in the store meanwhile doesn't become consistent again by what is appended to it. No records: not known.
   */
  readonly after: LedgerTip;
  readonly entry: LedgerEntry;
}

/** Where a record is. */
export interface AppendedRecord {
  readonly index: number;
  /** SHA-256 of the record's bytes, `sha256:…`. */
  readonly digest: string;
}

/** Records in flight at once while a chain is read. */
const PARALLEL_READS = 16;

/**
 * Appends one record, once: safe to repeat, whether or not an earlier try landed, and safe to race with other appenders.
 * Every write is create-only; when something is there already, the same id means done, another id means behind it.
 * @throws StoreError `unavailable` when the store's answers tell nothing.
 */
export async function appendRecord(
  store: ObjectStore,
  chainUrl: string,
  { id, after, entry }: AppendInput,
): Promise<AppendedRecord> {
  const at = new Date().toISOString();
  const known = after.records === 0 ? await lookUp(store, chainUrl, id) : after;
  if ('digest' in known) return known;
  let { records, tip } = known;
  for (;;) {
    const index = records + 1;
    const record: LedgerRecord = { schema: 'longhaul.ledger/1', index, id, previous: tip, at, entry };
    const there = await createOrRead(store, ledgerRecordUrl(chainUrl, index), encodeRecord(record));
    const digest = recordDigest(there);
    if (idOf(there) === id) return { index, digest };
    records = index;
    tip = digest;
  }
}

/** The record with this id in a chain that is not known yet, else the chain's tip. */
async function lookUp(store: ObjectStore, chainUrl: string, id: string): Promise<AppendedRecord | LedgerTip> {
  const objects = await readChain(store, chainUrl);
  const own = objects.find(({ bytes }) => idOf(bytes) === id);
  if (own !== undefined) return { index: numberOf(own), digest: recordDigest(own.bytes) };
  const last = objects.at(-1);
  if (last === undefined || numberOf(last) === 0) return EMPTY_CHAIN;
  return { records: numberOf(last), tip: recordDigest(last.bytes) };
}

/** Writes where nothing is, and returns the bytes that are there then: these, or somebody else's. */
async function createOrRead(store: ObjectStore, url: string, bytes: Uint8Array): Promise<Uint8Array> {
  try {
    await store.create(url, bytes);
    return bytes;
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
    return (await store.get(url)).data;
  }
}

function idOf(bytes: Uint8Array): string | null {
  const record = decodeRecord(bytes);
  return typeof record === 'string' ? null : record.id;
}

/**
 * The objects of a chain in order of their numbers, as they are: `checkChain` says what they are worth. Empty: no chain.
 * @throws StoreError `unavailable` and others.
 */
export async function readChain(store: ObjectStore, chainUrl: string): Promise<ChainObject[]> {
  const urls: string[] = [];
  for await (const { url } of store.list(chainUrl)) urls.push(url);
  const objects = await mapConcurrently(urls, PARALLEL_READS, async (url) => ({
    name: pathBelow(chainUrl, url),
    bytes: (await store.get(url)).data,
  }));
  return objects.sort((a, b) => numberOf(a) - numberOf(b));
}

/**
 * How far a chain goes in the store, without a look at what its records are worth; null: there is no chain.
 * @throws StoreError `unavailable` and others.
 */
export async function readTip(store: ObjectStore, chainUrl: string): Promise<LedgerTip | null> {
  let newest: { readonly url: string; readonly records: number } | null = null;
  for await (const { url } of store.list(chainUrl)) {
    const records = numberOf({ name: pathBelow(chainUrl, url) });
    if (records > (newest?.records ?? 0)) newest = { url, records };
  }
  if (newest === null) return null;
  return { records: newest.records, tip: recordDigest((await store.get(newest.url)).data) };
}

/** Number in an object's name; 0 for one that does not belong into a chain, so that it sorts before the records. */
function numberOf({ name }: Pick<ChainObject, 'name'>): number {
  const digits = /^(\d+)\.json$/.exec(name)?.[1];
  return digits === undefined ? 0 : Number(digits);
}
