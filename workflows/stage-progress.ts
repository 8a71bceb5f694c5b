/** A stage's own page, and its live progress: taken from its running attempt, shown, passed on to the run. */
import {
  CancellationScope,
  getExternalWorkflowHandle,
  patched,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { SignalDefinition } from '@temporalio/common';
import { QUERIES, SIGNALS } from '../src/domain/run/messages.js';
import { warningOf } from '../src/domain/run/progress.js';
import type { AttemptProgress, Warning } from '../src/domain/run/progress.js';
import { progressMarkdown, warningMarkdown } from '../src/domain/run/status-markdown.js';
import type { StageKind } from '../src/domain/run/status.js';
import { DroppedMessages, onSignal } from './incoming.js';
import { stageProgressSignal, stageQueuedSignal, waitingQuery } from './messages.js';

/** What the Temporal UI shows on the page of a stage. It listens for progress of the stage's attempts from its beginning on. */
export class StagePage {
  /** Messages that made no sense, of whichever name. */
  readonly dropped = new DroppedMessages(() => this.#show());
  #progress: AttemptProgress | null = null;
  #isQueued = false;
  #waiting: Warning | null = null;

  constructor(
    folder: string,
    private readonly title: string,
    private readonly kind: StageKind,
  ) {
    onQueued(folder, this.dropped, (queued) => {
      this.#isQueued = queued;
      this.#show();
    });
    onSignal(SIGNALS.progress, this.dropped, async (progress) => {
      this.#progress = progress;
      this.#isQueued = false;
      this.#show();
      await tellParent(stageProgressSignal, { folder, progress });
    });
    setHandler(waitingQuery, () => this.#waiting, { description: QUERIES.waiting.meaning });
  }

  /** The stage waits before its next attempt; null: it waits no longer. */
  waits(text: string | null): void {
    this.#waiting = text === null ? null : warningOf(text, new Date().toISOString());
    this.#show();
  }

  #show(): void {
    const { warning } = this.dropped;
    setCurrentDetails(
      [
        this.#progress === null
          ? `**${this.title}**`
          : progressMarkdown(this.title, this.kind, this.#progress),
        ...(this.#isQueued ? [QUEUED_TEXT] : []),
        ...(this.#waiting === null ? [] : [warningMarkdown(this.#waiting)]),
        ...(warning === null ? [] : [`> Warning: ${warning}`]),
      ].join('\n\n'),
    );
  }
}

/** What the page of a stage says while that waits for a place. */
export const QUEUED_TEXT = 'Queued: as many run as may';

/** Listens for an activity's wait for a place: `show` is told of it, and the run. */
export function onQueued(folder: string, dropped: DroppedMessages, show: (queued: boolean) => void): void {
  onSignal(SIGNALS.queued, dropped, async ({ queued }) => {
    show(queued);
    // A version that did not listen yet may have left the message in the history, and told nobody.
    if (patched('queued-is-told')) await tellParent(stageQueuedSignal, { folder, queued });
  });
}

/**
 * Progress is for people: it must not end the stage. A handler that throws would, and while the stage is being cancelled
 * everything cancellable throws: the workflow would close before its job is gone.
 */
async function tellParent<T>(signal: SignalDefinition<[T]>, value: T): Promise<void> {
  const parent = workflowInfo().parent;
  if (parent === undefined) return;
  const handle = getExternalWorkflowHandle(parent.workflowId, parent.runId);
  try {
    await CancellationScope.nonCancellable(() => handle.signal(signal, value));
  } catch {
    // The run is closed, or was reset: whoever closed it, or the new one, sees to this stage.
  }
}
