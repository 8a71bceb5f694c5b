/** A stage's live progress: taken from its running attempt, shown on its own page, passed on to the run. */
import { getExternalWorkflowHandle, setCurrentDetails, setHandler, workflowInfo } from '@temporalio/workflow';
import type { AttemptProgress } from '../src/domain/progress.js';
import { progressSignal, stageProgressSignal } from './messages.js';

/** Starts listening for progress of the stage's attempts. */
export function relayProgress(folder: string, title: string): void {
  setHandler(
    progressSignal,
    async (progress) => {
      setCurrentDetails(progressMarkdown(title, progress));
      const parent = workflowInfo().parent;
      if (parent === undefined) return;
      await getExternalWorkflowHandle(parent.workflowId, parent.runId).signal(stageProgressSignal, {
        folder,
        progress,
      });
    },
    { description: 'Newest progress of the running attempt (sent by the worker, not by people)' },
  );
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
