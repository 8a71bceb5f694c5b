/** A stage's live progress: taken from its running attempt, shown on its own page, passed on to the run. */
import {
  CancellationScope,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { AttemptProgress } from '../src/domain/progress.js';
import { progressSignal, stageProgressSignal } from './messages.js';

/** Starts listening for progress of the stage's attempts. */
export function relayProgress(folder: string, title: string): void {
  setHandler(
    progressSignal,
    async (progress) => {
      setCurrentDetails(progressMarkdown(title, progress));
      await tellParent(folder, progress);
    },
    { description: 'Newest progress of the running attempt (sent by the worker, not by people)' },
  );
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
