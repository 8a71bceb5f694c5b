/**
 * Attempts of a stage's job: claim an epoch, run the job to its end, say what became of it. Everything here can be
 * repeated by another worker at any time: the object store and the backend hold the truth.
 */
import { AttemptRun } from './run.js';
import type { AttemptDependencies, AttemptEnd, RunAttemptInput } from './types.js';
import { heartbeating } from '../lib/heartbeating.js';
import { stopJobsOf } from './stage-jobs.js';
import type { StageJobs } from './stage-jobs.js';

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
      return new AttemptRun(deps, input).execute();
    },

    /** Stops whatever jobs of a stage run, and returns their names once they have ended. */
    stopStageJobs: (stage: StageJobs): Promise<string[]> =>
      heartbeating(() => stopJobsOf(deps.backend, stage)),
  };
}
