/** What attempts are described with, between workflows, activities and the run that is watched. */
import type { Backend } from '../src/backends/backend.js';
import type { Epoch, JobSpec, Outcome } from '../src/contracts/index.js';
import type { FailureClass } from '../src/domain/failure-class.js';
import type { ObjectStore } from '../src/store/object-store.js';
import type { OnShutdown } from './cancellation.js';

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
