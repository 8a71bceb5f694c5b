/**
 * Children that a run waits for in vain. A reset leaves it waiting for a child that an earlier workflow run has started, whose end
 * nobody will tell it; and a child may be terminated, or fail, alone.
 */
import {
  CancellationScope,
  ChildWorkflowFailure,
  condition,
  patched,
  workflowInfo,
} from '@temporalio/workflow';
import type { ChildWorkflowHandle, Workflow, WorkflowResultType } from '@temporalio/workflow';
import type { StageHistory } from '../activities/attempt/children.js';
import { innermostMessageOf } from '../src/domain/lib/text.js';
import { childState } from './activity-proxies.js';
import { afterAttempt } from './job-state.js';
import type { JobState, TakingSettings } from './job-state.js';

/** A child that will not tell its end. */
export interface LostChild {
  readonly state: 'lost';
  /** What became of it, in one sentence. */
  readonly why: string;
}

/** Waits for children, as long as there is an end to wait for. One for each run. */
export class ChildWatch {
  /** Workflow run as of which the children were looked after last. */
  #known = workflowInfo().firstExecutionRunId;
  #resets = 0;

  /** The child's result, or that there will be none. @throws whatever ends the waiting run, and not its child. */
  async resultOf<T extends Workflow>(
    child: ChildWorkflowHandle<T>,
  ): Promise<Awaited<WorkflowResultType<T>> | LostChild> {
    const waiting = { over: false };
    try {
      return await Promise.race([child.result(), this.#foreign(child, waiting)]);
    } catch (error) {
      const own = CancellationScope.current().consideredCancelled || !(error instanceof ChildWorkflowFailure);
      if (own || !patched('lost-children')) throw error;
      return { state: 'lost', why: `its workflow ended without a result: ${innermostMessageOf(error)}` };
    } finally {
      waiting.over = true;
    }
  }

  /** To be awaited before a child is started, so that one of this workflow run is not taken for one from before a reset. */
  async settle(workflowId: string): Promise<void> {
    if (this.#isReset()) await this.#look(workflowId);
  }

  /**
   * Comes back only in a workflow run that a reset has made, or when the waiting is over. The child was started before the reset:
   * it may be closed, may take no message from this workflow run, and may tell it of no end.
   */
  async #foreign(
    { workflowId, firstExecutionRunId }: ChildWorkflowHandle<Workflow>,
    waiting: { readonly over: boolean },
  ): Promise<LostChild> {
    // A cancelled child saves before it ends, and its end is waited for: cancelling the run must not end this wait first.
    await CancellationScope.nonCancellable(() => condition(() => waiting.over || this.#isReset()));
    if (waiting.over) return { state: 'lost', why: '' };
    const status = await this.#look(workflowId, firstExecutionRunId);
    return { state: 'lost', why: `after a reset; its workflow of before was ${status}` };
  }

  async #look(workflowId: string, runId?: string): Promise<string> {
    const { status, by } = await childState({ workflowId, runId });
    this.#known = by;
    this.#resets += 1;
    return status;
  }

  /**
   * No event tells a workflow run that a reset has made it. It has another id than the one that is known, and once it is not being
   * replayed any more, `patched` marks the place in its history; each reset has a mark of its own.
   */
  #isReset(): boolean {
    return workflowInfo().runId !== this.#known && patched(`after-reset-${this.#resets + 1}`);
  }
}

/** A job's state with the attempts that its lost workflow has made. */
export function withHistory(
  job: JobState,
  { begun, ended, ledger }: StageHistory,
  settings: TakingSettings,
): JobState {
  // What was stopped with its workflow has not failed.
  const failed = ended.filter((end) => end.class !== 'cancelled');
  const taken = failed.reduce((state, end) => afterAttempt(state, end, settings), job);
  return {
    ...taken,
    attempts: job.attempts + Math.max(begun, ended.length),
    ledger: ledger.records > job.ledger.records ? ledger : job.ledger,
    unrecorded: true,
  };
}
