/** The run's ledger as the workflow keeps it: appended in order, one record at a time, its tip in the run's status. */
import { CancellationScope, condition, patched, workflowInfo } from '@temporalio/workflow';
import { EMPTY_CHAIN } from '../src/domain/ledger-chain.js';
import type { LedgerEntry } from '../src/domain/ledger.js';
import type { LedgerTip } from '../src/domain/status.js';
import { appendToLedger, recordedActions } from './activity-proxies.js';

/** Appends records of one run. */
export class RunLedger {
  #runUrl: string | null = null;
  #tip: LedgerTip = EMPTY_CHAIN;
  #sequence = 0;
  #last: Promise<void> = Promise.resolve();
  #before: Promise<ReadonlyMap<string, number>> | null = null;
  readonly #onTip: (tip: LedgerTip) => void;

  /** `onTip` is told how far the chain goes after every append. */
  constructor(onTip: (tip: LedgerTip) => void) {
    this.#onTip = onTip;
  }

  /** Records can be written from now on; those asked for before have waited. */
  open(runUrl: string): void {
    this.#runUrl = runUrl;
  }

  /** Appends a record after those already on their way. A cancelled run records its end all the same. */
  append(entry: LedgerEntry): Promise<void> {
    const { namespace, workflowId, runId } = workflowInfo();
    this.#sequence += 1;
    const id = `${namespace}/${workflowId}/${runId}#${this.#sequence}`;
    const before = this.#last;
    this.#last = CancellationScope.nonCancellable(async () => {
      await before;
      await this.#write(id, entry);
    });
    return this.#last;
  }

  /**
   * Record of an update that an earlier workflow run of this run has taken: after a reset Temporal applies it again. null: it is
   * new.
   */
  async recordOf(updateId: string): Promise<number | null> {
    const { runId, firstExecutionRunId } = workflowInfo();
    if (runId === firstExecutionRunId || !patched('updates-once')) return null;
    this.#before ??= CancellationScope.nonCancellable(() => this.#actionsBefore());
    return (await this.#before).get(updateId) ?? null;
  }

  async #actionsBefore(): Promise<ReadonlyMap<string, number>> {
    await condition(() => this.#runUrl !== null);
    const actions = await recordedActions({ runUrl: this.#runUrl ?? '' });
    return new Map(actions.map(({ updateId, record }) => [updateId, record]));
  }

  async #write(id: string, entry: LedgerEntry): Promise<void> {
    await condition(() => this.#runUrl !== null);
    const runUrl = this.#runUrl ?? '';
    const { firstExecutionRunId: firstRunId } = workflowInfo();
    this.#tip = await appendToLedger({ runUrl, firstRunId, id, after: this.#tip, entry });
    this.#onTip(this.#tip);
  }
}
