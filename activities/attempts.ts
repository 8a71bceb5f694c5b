/**
 * Attempts of a stage's job: claim an epoch, run the job to its end, say what became of it. Everything here can be
 * repeated by another worker at any time: the object store and the backend hold the truth.
 */
import { ApplicationFailure } from '@temporalio/activity';
import { AttemptRun } from './attempt-run.js';
import type { AttemptDependencies, AttemptEnd, RunAttemptInput } from './attempt-types.js';
import { refusing } from './failures.js';

/** The activities of this file. */
export type AttemptActivities = ReturnType<typeof createAttemptActivities>;

/** Creates the activities. */
export function createAttemptActivities(deps: AttemptDependencies) {
  return {
    /**
     * Claims the stage's next epoch, or adopts its result; runs the attempt's job to its end, or attaches to it and
     * watches it to its end. It returns what became of the job, and throws only for trouble of the control plane: as
     * `refusing` does, when that won't pass, so that the stage parks.
     */
    async runAttempt(input: RunAttemptInput): Promise<AttemptEnd> {
      const run = new AttemptRun(deps, input);
      try {
        return await refusing(() => run.execute());
      } catch (error) {
        // A stage that parks leaves no job behind; one that is retried attaches to it again.
        if (isFinal(error)) await run.stopJob();
        throw error;
      }
    },
  };
}

function isFinal(error: unknown): boolean {
  return error instanceof ApplicationFailure && error.nonRetryable === true;
}
