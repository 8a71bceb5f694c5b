/** The run's ledger: one chain, written only from here. */
import type { LedgerEntry } from '../src/domain/ledger.js';
import type { LedgerTip } from '../src/domain/status.js';
import { runLayout } from '../src/store/layout.js';
import { appendRecord } from '../src/store/ledger.js';
import type { ObjectStore } from '../src/store/object-store.js';

/** A record to append. */
export interface AppendInput {
  readonly runUrl: string;
  /** Unique per record: a repeated append of it changes nothing. */
  readonly id: string;
  /** How far the chain goes as far as the workflow knows. */
  readonly after: LedgerTip;
  readonly entry: LedgerEntry;
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
    /** Appends a record to the run's chain; safe to repeat and to race. */
    async appendToLedger({ runUrl, id, after, entry }: AppendInput): Promise<LedgerTip> {
      const { index, digest } = await appendRecord(store, runLayout(runUrl).ledger, { id, after, entry });
      return { records: index, tip: digest };
    },
  };
}
