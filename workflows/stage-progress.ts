/** A stage's own page, and its live progress: taken from its running attempt, shown, passed on to the run. */
import {
  CancellationScope,
  getExternalWorkflowHandle,
  setCurrentDetails,
  workflowInfo,
} from '@temporalio/workflow';
import { attemptProgressSchema } from '../src/domain/run/progress.js';
import type { AttemptProgress } from '../src/domain/run/progress.js';
import { DroppedMessages, onSignal } from './incoming.js';
import { progressSignal, stageProgressSignal } from './messages.js';

/** What the Temporal UI shows on the page of a stage. It listens for progress of the stage's attempts from its beginning on. */
export class StagePage {
  /** Messages that made no sense, of whichever name. */
  readonly dropped = new DroppedMessages(() => this.#show());
  #progress: AttemptProgress | null = null;

  constructor(
    folder: string,
    private readonly title: string,
  ) {
    onSignal(
      progressSignal,
      attemptProgressSchema,
      this.dropped,
      async (progress) => {
        this.#progress = progress;
        this.#show();
        await tellParent(folder, progress);
      },
      'Newest progress of the running attempt (sent by the worker, not by people)',
    );
  }

  #show(): void {
    const { warning } = this.dropped;
    setCurrentDetails(
      [
        this.#progress === null ? `**${this.title}**` : progressMarkdown(this.title, this.#progress),
        ...(warning === null ? [] : [`> Warning: ${warning}`]),
      ].join('\n\n'),
    );
  }
}

/**
 * Progress is for people: it must not end the stage. A handler that throws would, and while the stage is being cancelled
 * everything cancellable throws: the workflow would close before its job is gone.
 */
async function tellParent(folder: string, progress: AttemptProgress): Promise<void> {
  const parent = workflowInfo().parent;
  if (parent === undefined) return;
  const handle = getExternalWorkflowHandle(parent.workflowId, parent.runId);
  try {
    await CancellationScope.nonCancellable(() => handle.signal(stageProgressSignal, { folder, progress }));
  } catch {
    // The run is closed, or was reset: whoever closed it, or the new one, sees to this stage.
  }
}

function progressMarkdown(title: string, progress: AttemptProgress): string {
  const { epoch, phase, step, steps, tokens, loss, commit } = progress;
  return [
    `**${title}** · attempt ${epoch} · ${phase}`,
    `Step ${step}${steps === null ? '' : ` of ${steps}`}, ${tokens.toLocaleString('en-US')} tokens` +
      (loss === null ? '' : `, loss ${loss.toFixed(3)}`),
    commit === null ? 'No checkpoint yet' : `Newest checkpoint \`${commit}\``,
  ].join('\n\n');
}
