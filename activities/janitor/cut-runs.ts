/**
 * Runs that ended without a word in their ledger: terminated or timed out, where no code of theirs could record it, or failed or
 * cancelled while the store took no records. The janitor records it.
 */
import type { Context } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import { checkChain } from '../../src/domain/ledger/chain.js';
import type { ChainLink } from '../../src/domain/ledger/chain.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { FAILURE_CHARACTERS, withinLimit } from '../../src/domain/lib/text.js';
import { rootLayout, runLayout } from '../../src/contracts/layout.js';
import { appendRecord, readChain } from '../../src/store/ledger.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { withSeal } from '../ledger/index.js';

/** How far back closed runs are looked for. A janitor that was away for longer leaves the rest to whoever audits. */
const LOOK_BACK_MS = 7 * 24 * 3600 * 1000;

/** A closed execution of the `recipe` workflow. */
interface CutRun {
  readonly run: string;
  readonly runId: string;
}

/** Records the ends of runs that were cut. `settled`: executions that need no further look, kept from pass to pass. */
export class CutRunSweep {
  constructor(
    private readonly context: Context,
    private readonly store: ObjectStore,
    private readonly settled: Set<string>,
  ) {}

  /** Looks below every root for the ledgers of runs that were cut; returns the runs whose end was recorded. */
  async run(roots: ReadonlySet<string>): Promise<string[]> {
    // When runs closed is Temporal's word: so is how long ago that is.
    const now = this.context.info.currentAttemptScheduledTimestampMs;
    const since = new Date(now - LOOK_BACK_MS).toISOString();
    const query = `WorkflowType = '${WORKFLOWS.recipe.name}' AND ExecutionStatus IN ('Terminated', 'TimedOut', 'Failed', 'Canceled') AND CloseTime > '${since}'`;
    const recorded: string[] = [];
    for await (const { workflowId: run, runId } of this.context.client.workflow.list({ query })) {
      this.context.heartbeat();
      if (this.settled.has(runId)) continue;
      if ((await this.#isLatest(run, runId)) && (await this.#record({ run, runId }, roots))) {
        recorded.push(run);
      }
      this.settled.add(runId);
    }
    return recorded;
  }

  /** After a reset, or a second start of the name, the ledger goes on: the new execution's opening tells what happened. */
  async #isLatest(run: string, runId: string): Promise<boolean> {
    return (await this.context.client.workflow.getHandle(run).describe()).runId === runId;
  }

  async #record(cut: CutRun, roots: ReadonlySet<string>): Promise<boolean> {
    for (const root of roots) {
      const runUrl = rootLayout(root).run(cut.run);
      const chainUrl = runLayout(runUrl).ledger;
      const { links, tip } = checkChain(await readChain(this.store, chainUrl));
      if (!isOpen(links, cut.runId)) continue;
      const { state, why } = await this.#whyCut(cut);
      const { namespace } = this.context.info;
      const id = `${namespace}/${cut.run}/${cut.runId}#cut`;
      for (const folder of openStages(links)) {
        const entry = await withSeal(this.store, runUrl, {
          type: 'stage-ended',
          folder,
          result: 'cancelled',
          why: 'the run was cut off',
          chain: null,
          artifacts: [],
        });
        await appendRecord(this.store, chainUrl, { id: `${id}-${folder}`, after: tip, entry });
      }
      await appendRecord(this.store, chainUrl, { id, after: tip, entry: { type: 'run-ended', state, why } });
      return true;
    }
    return false;
  }

  /** How it ended, and who ended it and why, in Temporal's words. */
  async #whyCut({ run, runId }: CutRun): Promise<{ readonly state: string; readonly why: string }> {
    const { namespace } = this.context.info;
    const { history } = await this.context.client.workflowService.getWorkflowExecutionHistoryReverse({
      namespace,
      execution: { workflowId: run, runId },
      maximumPageSize: 1,
    });
    return endIn(history?.events?.[0] ?? {});
  }
}

type LastEvent = Pick<
  NonNullable<NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number]>,
  | 'workflowExecutionTerminatedEventAttributes'
  | 'workflowExecutionFailedEventAttributes'
  | 'workflowExecutionCanceledEventAttributes'
>;

function endIn(event: LastEvent): { readonly state: string; readonly why: string } {
  const by = 'recorded by the janitor';
  const {
    workflowExecutionTerminatedEventAttributes: terminated,
    workflowExecutionFailedEventAttributes: failed,
    workflowExecutionCanceledEventAttributes: cancelled,
  } = event;
  if (terminated) {
    const reason = terminated.reason ?? '';
    const said = reason === '' ? 'without a reason' : `with the reason ${JSON.stringify(reason)}`;
    return { state: 'terminated', why: `terminated by ${terminated.identity ?? 'somebody'} ${said}; ${by}` };
  }
  if (failed) {
    const aborted = failed.failure?.applicationFailureInfo?.type === 'cancelled';
    const message = withinLimit(failed.failure?.message ?? '', FAILURE_CHARACTERS);
    return { state: aborted ? 'cancelled' : 'failed', why: `${message}; ${by}` };
  }
  if (cancelled) return { state: 'cancelled', why: `cancelled; ${by}` };
  return { state: 'terminated', why: `timed out; ${by}` };
}

const LIFE: ReadonlySet<string | undefined> = new Set(['run-opened', 'run-reset', 'run-ended']);

/** Whether a chain's newest opening is by this execution, and nothing says that it ended. */
function isOpen(links: readonly ChainLink[], runId: string): boolean {
  const entry = links.findLast(({ record }) => LIFE.has(record?.entry.type))?.record?.entry;
  return (entry?.type === 'run-opened' || entry?.type === 'run-reset') && entry.runId === runId;
}

/** Stages that were under way, parked or paused when nothing was recorded any more. */
function openStages(links: readonly ChainLink[]): string[] {
  const open = new Set<string>();
  for (const { record } of links) {
    const entry = record?.entry;
    if (entry?.type === 'stage-started') open.add(entry.folder);
    if (entry?.type === 'stage-ended' && entry.result !== 'parked' && entry.result !== 'paused')
      open.delete(entry.folder);
  }
  return [...open];
}
