/** Chains as the tests need them: records with an entry each, written as the store writes them. */
import { decodeRecord, encodeRecord, recordDigest, recordName } from '../../../src/domain/ledger/chain.js';
import type { ChainObject } from '../../../src/domain/ledger/chain.js';
import type { LedgerEntry, LedgerRecord } from '../../../src/domain/ledger/records.js';

/** An entry that tells nothing but its number. */
export function entry(number: number): LedgerEntry {
  return { type: 'run-ended', state: 'completed', why: `number ${number}` };
}

/** A chain of these entries, one second apart. */
export function chainOf(entries: readonly LedgerEntry[]): ChainObject[] {
  const objects: ChainObject[] = [];
  for (const [position, one] of entries.entries()) {
    const before = objects.at(-1);
    const bytes = encodeRecord({
      schema: 'longhaul.ledger/1',
      index: position + 1,
      id: `ns/run/run-id#${position + 1}`,
      previous: before === undefined ? null : recordDigest(before.bytes),
      at: new Date(Date.UTC(2026, 0, 1) + position * 1000).toISOString(),
      entry: one,
    });
    objects.push({ name: recordName(position + 1), bytes });
  }
  return objects;
}

/** The object of a record with something changed about it, in the bytes such a record is written in. */
export function changed(object: ChainObject, change: Partial<LedgerRecord>): ChainObject {
  const record = decodeRecord(object.bytes);
  if (typeof record === 'string') throw new Error(record);
  return { name: object.name, bytes: encodeRecord({ ...record, ...change }) };
}
