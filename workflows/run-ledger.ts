/** The run's ledger as the workflow keeps it: appended in order, one record at a time, its tip in the run's status. */
import {
  CancellationScope,
  condition,
  isCancellation,
  log,
  patched,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { EMPTY_CHAIN } from '../src/domain/ledger/chain.js';
import type { LedgerEntry } from '../src/domain/ledger/records.js';
import { entrySummary } from '../src/domain/ledger/summary.js';
import { LEDGER_WAITS } from '../src/domain/run/status.js';
import type { LedgerTip } from '../src/domain/run/status.js';
import { firstLine, innermostMessageOf } from '../src/domain/lib/text.js';
import { appendToLedger, appendToLedgerLater, recordedActions } from './activity-proxies.js';

/** Between two rounds of tries at a record that the store has refused. Doubles, up to the limit. */
const FIRST_WAIT_SECONDS = 30;
const LONGEST_WAIT_SECONDS = 600;

/** Who is told about the ledger. */
export interface LedgerListener {
  /** How far the chain goes now. */
  onTip(tip: LedgerTip): void;
  /** Why records wait; null: none does any more. */
  onTrouble(why: string | null): void;
}

/**
 * Appends records of one run. A record waits for as long as the store takes none, and what comes after it waits behind it; but once
 * the run is to end (`endWithin`), each has only a few quick tries left. The janitor writes the end then.
 */
export class RunLedger {
  #runUrl: string | null = null;
  #tip: LedgerTip = EMPTY_CHAIN;
  #sequence = 0;
  #last: Promise<void> = Promise.resolve();
  #before: Promise<ReadonlyMap<string, number>> | null = null;
  /** The wait of the record under way; null: it doesn't wait. */
  #waiting: CancellationScope | null = null;
  #ending = false;
  #letsGo = false;
  #lost = 0;

  constructor(private readonly listener: LedgerListener) {}

  /** Records that were let go because the store did not take them in time. */
  get lost(): number {
    return this.#lost;
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
   * @throws ActivityFailure when the store refuses to tell.
   */
  async recordOf(updateId: string): Promise<number | null> {
    const { runId, firstExecutionRunId } = workflowInfo();
    if (runId === firstExecutionRunId || !patched('updates-once')) return null;
    this.#before ??= CancellationScope.nonCancellable(() => this.#actionsBefore());
    try {
      return (await this.#before).get(updateId) ?? null;
    } catch (error) {
      // What the store refuses now it may tell later.
      this.#before = null;
      throw error;
    }
  }

  async #actionsBefore(): Promise<ReadonlyMap<string, number>> {
    await condition(() => this.#runUrl !== null || this.#letsGo);
    if (this.#runUrl === null) return new Map();
    const actions = await recordedActions({ runUrl: this.#runUrl });
    return new Map(actions.map(({ updateId, record }) => [updateId, record]));
  }

  /** The run is to end: a store that takes nothing within so many seconds keeps it from that no longer. */
  endWithin(seconds: number): void {
    if (this.#ending || !patched('ledger-lets-go')) return;
    this.#ending = true;
    void CancellationScope.nonCancellable(async () => {
      await sleep(seconds * 1000);
      this.#letsGo = true;
      this.#waiting?.cancel();
    });
  }

  async #write(id: string, entry: LedgerEntry): Promise<void> {
    await condition(() => this.#runUrl !== null || this.#letsGo);
    const { firstExecutionRunId: firstRunId } = workflowInfo();
    const runUrl = this.#runUrl;
    const tip =
      runUrl === null ? null : await this.#taken({ runUrl, firstRunId, id, after: this.#tip, entry });
    if (tip === null) {
      this.#lost += 1;
      log.error('a record was let go, for the run is to end', { id, type: entry.type });
      return;
    }
    this.#tip = tip;
    this.listener.onTip(tip);
  }

  /** The tip once the store has taken the record; null: the run ends without it. */
  async #taken(record: Parameters<typeof appendToLedger>[0]): Promise<LedgerTip | null> {
    try {
      return await appendToLedger.executeWithOptions({ summary: entrySummary(record.entry) }, [record]);
    } catch (error) {
      this.#tell(error);
    }
    if (this.#letsGo) return null;
    const waiting = new CancellationScope();
    this.#waiting = waiting;
    try {
      return await waiting.run(() => this.#untilTaken(record));
    } catch (error) {
      if (isCancellation(error)) return null;
      throw error;
    } finally {
      this.#waiting = null;
    }
  }

  async #untilTaken(record: Parameters<typeof appendToLedgerLater>[0]): Promise<LedgerTip> {
    const summary = { summary: entrySummary(record.entry) };
    for (let seconds = FIRST_WAIT_SECONDS; ; seconds = Math.min(2 * seconds, LONGEST_WAIT_SECONDS)) {
      try {
        const tip = await appendToLedgerLater.executeWithOptions(summary, [record]);
        this.listener.onTrouble(null);
        return tip;
      } catch (error) {
        if (isCancellation(error)) throw error;
        this.#tell(error);
      }
      await sleep(seconds * 1000);
    }
  }

  #tell(error: unknown): void {
    this.listener.onTrouble(`${LEDGER_WAITS}: ${firstLine(innermostMessageOf(error))}`);
  }
}
