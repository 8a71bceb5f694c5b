/**
 * Attempts of a stage's job: claim an epoch, run the job to its end, say what became of it. Everything here can be
 * repeated by another worker at any time: the object store and the backend hold the truth.
 */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import type { Backend, JobObservation } from '../src/backends/backend.js';
import { EXIT_CODES, jobSpecSchema, outcomeSchema } from '../src/contracts/index.js';
import type { Epoch, JobSpec, Outcome } from '../src/contracts/index.js';
import { classifyEnd } from '../src/domain/attempt-end.js';
import type { FailureClass } from '../src/domain/failure-class.js';
import { jobName } from '../src/domain/job-names.js';
import { ProgressTracker } from '../src/domain/progress.js';
import { fateOf } from './cancellation.js';
import type { JobFate, OnShutdown } from './cancellation.js';

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
      const parsed = jobSpecSchema.parse(spec);
      await writeSpec(deps.store, parsed);
      const outcome = await readResult(deps.store, parsed);
      if (outcome !== null) return { state: 'adopted', outcome };
      return { state: 'claimed', epoch: await claimEpoch(deps.store, parsed.stageUrl, owner) };
    },

    /** Runs the attempt's job to its end, or attaches to it and watches it to its end. */
    async runAttempt(input: RunAttemptInput): Promise<AttemptEnd> {
      return new AttemptRun(deps, input).watch();
    },
  };
}
