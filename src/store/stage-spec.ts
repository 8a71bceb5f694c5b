/** Which of a stage's specs a result was made by: a retry with other settings writes a further one. */
import { decodeRecord } from '../domain/ledger/chain.js';
import type { LedgerEntry } from '../domain/ledger/records.js';
import { stageLayout } from '../contracts/layout.js';
import { readChain } from './ledger.js';
import type { ObjectStore } from './object-store.js';

/**
 * The object of the spec that the attempt of this epoch worked by, as the stage's ledger says; null, or an epoch of which it says
 * nothing (a result of another run): the spec that it names last. Records of earlier versions name none, and a stage
 * without records has only the first.
 * @throws StoreError
 */
export async function findSpecUrl(
  store: ObjectStore,
  stageUrl: string,
  epoch: number | null,
): Promise<string> {
  const { ledger, specOf } = stageLayout(stageUrl);
  const entries = (await readChain(store, ledger)).flatMap(({ bytes }) => {
    const record = decodeRecord(bytes);
    return typeof record === 'string' ? [] : [record.entry];
  });
  const own = entries.findLast((entry) => entry.type === 'attempt-opened' && entry.epoch === epoch);
  const named = own ?? entries.findLast((entry) => revisionIn(entry) !== null);
  return specOf((named === undefined ? null : revisionIn(named)) ?? 0);
}

/** null: the entry names no spec. */
function revisionIn(entry: LedgerEntry): number | null {
  return entry.type === 'attempt-opened' || entry.type === 'stage-adopted'
    ? (entry.spec?.revision ?? null)
    : null;
}
