/** The run's ledger: one chain, written only from here. */
import { checkChain } from '../../src/domain/ledger/chain.js';
import { runIdOf } from '../../src/domain/ledger/records.js';
import type { EntryOf, LedgerEntry } from '../../src/domain/ledger/records.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { openedObjects, sealedObjects } from '../../src/store/anchors.js';
import { runLayout, stageLayout } from '../../src/contracts/layout.js';
import { appendRecord, readChain, readTip } from '../../src/store/ledger.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { refusing } from '../lib/failures.js';
import { heartbeating } from '../lib/heartbeating.js';
import { recordReset } from './reset.js';

/** A record to append. */
export interface AppendInput {
  readonly runUrl: string;
  /** First workflow run of the run: another one than the record's writer was made by a reset, or a second start. */
  readonly firstRunId: string;
  /** Unique per record: a repeated append of it changes nothing. */
  readonly id: string;
  /** How far the chain goes as far as the workflow knows. */
  readonly after: LedgerTip;
  readonly entry: LedgerEntry;
}

/** An operator's action that a run's ledger has. */
export interface RecordedAction {
  readonly updateId: string;
  /** Number of the record of when it was done. */
  readonly record: number;
}

/** What the activities of this file need. */
export interface LedgerDependencies {
  readonly store: ObjectStore;
}

/** The activities of this file. */
export type LedgerActivities = ReturnType<typeof createLedgerActivities>;

/** Creates the activities. */
export function createLedgerActivities({ store }: LedgerDependencies) {
  return {
    /**
     * Appends a record to the run's chain, the first one after a reset behind a record of that; safe to repeat and to race.
     * @throws as `refusing` does.
     */
    appendToLedger: (input: AppendInput): Promise<LedgerTip> => refusing(() => appendToRun(store, input)),

    /** Every action of operators that the ledger has, each once: after a reset Temporal applies updates again. */
    recordedActions: ({ runUrl }: { readonly runUrl: string }): Promise<RecordedAction[]> =>
      heartbeating(() => actionsIn(store, runUrl)),
  };
}

async function actionsIn(store: ObjectStore, runUrl: string): Promise<RecordedAction[]> {
  const { links } = checkChain(await readChain(store, runLayout(runUrl).ledger));
  return links.flatMap(({ index, record }) => {
    const entry = record?.entry;
    if (entry?.type !== 'action' || entry.updateId === undefined || entry.repeats !== undefined) return [];
    return [{ updateId: entry.updateId, record: index }];
  });
}

async function appendToRun(
  store: ObjectStore,
  { runUrl, firstRunId, id, after: known, entry }: AppendInput,
): Promise<LedgerTip> {
  const sealed = await withDigests(store, runUrl, entry);
  const { ledger } = runLayout(runUrl);
  const isFirst = runIdOf(id) === firstRunId;
  const after = isFirst ? known : await recordReset(store, { chainUrl: ledger, id, after: known });
  const { index, digest } = await appendRecord(store, ledger, { id, after, entry: sealed });
  return { records: index, tip: digest };
}

/** The record with the digests of what it seals, which nobody but the store has. */
async function withDigests(store: ObjectStore, runUrl: string, entry: LedgerEntry): Promise<LedgerEntry> {
  if (entry.type === 'run-opened') return { ...entry, objects: await openedObjects(store, runUrl) };
  return entry.type === 'stage-ended' ? withSeal(store, runUrl, entry) : entry;
}

/**
 * The end of a stage with the digests of its objects, which rest from now on. Of one that could not tell how far its chain goes,
 * that is sealed as far as it goes in the store: a cancellation carries nothing to the parent, and a termination runs no code.
 */
export async function withSeal(
  store: ObjectStore,
  runUrl: string,
  ended: EntryOf<'stage-ended'>,
): Promise<EntryOf<'stage-ended'>> {
  const { folder, result, artifacts } = ended;
  const withReport = artifacts.some(({ kind }) => kind === 'report');
  const objects = await sealedObjects(store, runUrl, folder, { withReport });
  if (ended.chain !== null || result === 'done' || result === 'adopted') return { ...ended, objects };
  const { ledger } = stageLayout(runLayout(runUrl).stage(folder));
  return { ...ended, chain: await readTip(store, ledger), objects };
}
