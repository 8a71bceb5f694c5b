/**
 * Attempts of a stage's job: claim an epoch, run the job to its end, say what became of it. Everything here can be
 * repeated by another worker at any time: the object store and the backend hold the truth.
 */
import { ApplicationFailure } from '@temporalio/activity';
import type { Backend } from '../src/backends/backend.js';
import { jobSpecSchema } from '../src/contracts/index.js';
import type { Epoch, JobSpec, Outcome } from '../src/contracts/index.js';
import type { FailureClass } from '../src/domain/failure-class.js';
import { isStoreError } from '../src/store/errors.js';
import { createEmptyHead, openAttempt } from '../src/store/head.js';
import { stageLayout } from '../src/store/layout.js';
import { encodeJson } from '../src/store/object-store.js';
import type { ObjectStore } from '../src/store/object-store.js';
import { AttemptRun } from './attempt-run.js';
import type { OnShutdown } from './cancellation.js';
import { findResult } from './stage-result.js';

/** An outcome with a result. */
export type FinishedOutcome = Extract<Outcome, { result: 'trained' | 'evaluated' }>;

/** What became of an attempt. */
export type AttemptEnd =
  | { readonly state: 'done'; readonly outcome: FinishedOutcome }
  | {
      readonly state: 'ended';
      readonly class: FailureClass;
      readonly message: string;
      /** Equal signatures are the same failure again. */
      readonly signature: string;
      /** Whether the attempt committed a checkpoint or finished a sample. */
      readonly progressed: boolean;
      /** Last lines of the job's log. */
      readonly logTail: readonly string[];
    };

/** A claim on a stage, or the result that makes one unnecessary. */
export type Claim =
  | { readonly state: 'claimed'; readonly epoch: Epoch }
  | { readonly state: 'adopted'; readonly outcome: FinishedOutcome };

/** How jobs are started, and what becomes of them when the worker goes. */
export interface JobSettings {
  /** Program and arguments that run a training container's entry point. */
  readonly command: readonly [string, ...string[]];
  /** Environment of every job: endpoint and credentials of the object store among it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly onShutdown: OnShutdown;
}

/** What the activities of this file need. */
export interface AttemptDependencies {
  readonly store: ObjectStore;
  readonly backend: Backend;
  readonly jobs: JobSettings;
}

/** An attempt to claim. */
export interface OpenAttemptInput {
  readonly spec: JobSpec;
  /** Token of the claim: namespace, workflow id, run id, attempt. The same owner gets the same epoch. */
  readonly owner: string;
}

/** An attempt to run. */
export interface RunAttemptInput {
  readonly run: string;
  /** Stage folder, `<nn-name>`. */
  readonly folder: string;
  readonly stageUrl: string;
  readonly epoch: Epoch;
  /** Between SIGTERM and SIGKILL, seconds. */
  readonly graceSeconds: number;
}

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
