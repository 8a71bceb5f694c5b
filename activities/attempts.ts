/**
 * Attempts of a stage's job: claim an epoch, run the job to its end, say what became of it. Everything here can be
 * repeated by another worker at any time: the object store and the backend hold the truth.
 */
import { ApplicationFailure } from '@temporalio/activity';
import { jobSpecSchema } from '../src/contracts/index.js';
import type { JobSpec } from '../src/contracts/index.js';
import { isStoreError } from '../src/store/errors.js';
import { createEmptyHead, openAttempt } from '../src/store/head.js';
import { stageLayout } from '../src/store/layout.js';
import { encodeJson } from '../src/store/object-store.js';
import type { ObjectStore } from '../src/store/object-store.js';
import { AttemptRun } from './attempt-run.js';
import type {
  AttemptDependencies,
  AttemptEnd,
  Claim,
  OpenAttemptInput,
  RunAttemptInput,
} from './attempt-types.js';
import { findResult } from './stage-result.js';

/** The activities of this file. */
export type AttemptActivities = ReturnType<typeof createAttemptActivities>;

/** Creates the activities. */
export function createAttemptActivities(deps: AttemptDependencies) {
  return {
    /**
     * Writes the stage's spec, adopts a result that is there already, or claims the next epoch.
     * @throws ApplicationFailure `user-error` when the stage has another spec; `fenced` when another run owns it.
     */
    async openAttempt({ spec, owner }: OpenAttemptInput): Promise<Claim> {
      const { store } = deps;
      await writeSpec(store, jobSpecSchema.parse(spec));
      const outcome = await findResult(store, spec.stageUrl);
      if (outcome !== null) return { state: 'adopted', outcome };
      await createEmptyHead(store, spec.stageUrl);
      const { epoch } = await openAttempt(store, { stageUrl: spec.stageUrl, owner });
      return { state: 'claimed', epoch };
    },

    /** Runs the attempt's job to its end, or attaches to it and watches it to its end. */
    async runAttempt(input: RunAttemptInput): Promise<AttemptEnd> {
      return new AttemptRun(deps, input).watch();
    },
  };
}

/** A stage has one spec for its whole life: what it was trained with is what the spec says, in every attempt. */
async function writeSpec(store: ObjectStore, spec: JobSpec): Promise<void> {
  try {
    await store.create(stageLayout(spec.stageUrl).spec, encodeJson(spec));
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
    throw ApplicationFailure.create({
      type: 'user-error',
      nonRetryable: true,
      message: `${spec.stageUrl} has another spec already: start the changed recipe as a run of another name`,
    });
  }
}
