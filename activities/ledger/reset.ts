/** Resets run no code of ours: the workflow run that goes on from one tells the ledger of it before anything else. */
import { Context } from '@temporalio/activity';
import { decodeRecord } from '../../src/domain/ledger/chain.js';
import { runIdOf } from '../../src/domain/ledger/records.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { ledgerRecordUrl } from '../../src/contracts/layout.js';
import { appendRecord } from '../../src/store/ledger.js';
import type { ObjectStore } from '../../src/store/object-store.js';

/** A run's chain, and the record that a workflow run is about to append to it. */
export interface ComingRecord {
  readonly chainUrl: string;
  readonly id: string;
  /** How far the chain goes as far as the workflow knows: after a reset, as it did at that point. */
  readonly after: LedgerTip;
}

/**
 * Records the reset that the writing workflow run goes on from, once: nothing when there was none, or when the newest record it
 * knows of is its own. Returns the tip behind which its record goes.
 */
export async function recordReset(
  store: ObjectStore,
  { chainUrl, id, after }: ComingRecord,
): Promise<LedgerTip> {
  const runId = runIdOf(id);
  if (runId === null || (await writerOf(store, chainUrl, after.records)) === runId) return after;
  const why = await reasonOfReset(runId);
  if (why === null) return after;
  const { index, digest } = await appendRecord(store, chainUrl, {
    id: id.replace(/#.*$/, '#reset'),
    after,
    entry: { type: 'run-reset', runId, remembers: after.records, why },
  });
  return { records: index, tip: digest };
}

async function writerOf(store: ObjectStore, chainUrl: string, index: number): Promise<string | null> {
  if (index === 0) return null;
  const found = await store.find(ledgerRecordUrl(chainUrl, index));
  const record = found === null ? '' : decodeRecord(found.data);
  return typeof record === 'string' ? null : runIdOf(record.id);
}

/** What was said for the reset that made this workflow run; null: it is none that a reset has made. */
async function reasonOfReset(runId: string): Promise<string | null> {
  const { client, info } = Context.current();
  const { events } = await client.workflow
    .getHandle(info.workflowExecution?.workflowId ?? '', runId)
    .fetchHistory();
  const reset = (events ?? [])
    .map((event) => event.workflowTaskFailedEventAttributes)
    .findLast((task) => task?.newRunId === runId && Boolean(task.failure?.resetWorkflowFailureInfo));
  return reset?.failure?.message ?? null;
}
