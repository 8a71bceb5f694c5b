/** What attempts are described with, between workflows, activities and the run that is watched. */
import type { Backend } from '../../src/backends/backend.js';
import type { JobSpec, Outcome, StepWindow } from '../../src/contracts/index.js';
import type { FailureClass } from '../../src/domain/attempt/failure-class.js';
import type { AttemptSeconds } from '../../src/domain/ledger/records.js';
import type { RetryFrom } from '../../src/domain/run/operator-actions.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import type { WatchdogLearned, WatchdogSettings } from '../../src/domain/attempt/watchdog.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import type { OnShutdown } from '../lib/cancellation.js';

/** An outcome with a result. */
export type FinishedOutcome = Extract<Outcome, { result: 'trained' | 'evaluated' }>;

/** An attempt that did not finish its job. */
export interface EndedAttempt {
  readonly state: 'ended';
  readonly epoch: number;
  readonly class: FailureClass;
  readonly message: string;
  /** Equal signatures are the same failure again. */
  readonly signature: string;
  /** Whether the attempt committed a checkpoint or finished a sample. */
  readonly progressed: boolean;
  /** Last optimizer step done; of an evaluation, samples done. */
  readonly step: number;
  /** Where the job ran; null where the backend doesn't say. */
  readonly node: string | null;
  /** Checkpoints that a retry can begin at, newest first; null: not known, since the store could not be asked. */
  readonly checkpoints: readonly string[] | null;
  /** Last lines of the job's log. */
  readonly logTail: readonly string[];
  readonly seconds: AttemptSeconds;
  /** From the claim to the job's end, seconds. */
  readonly wallSeconds: number;
  /** Of those, the seconds in which it may have held devices: not while it waited for a place. Absent: not told, as once. */
  readonly heldSeconds?: number;
  /** What the watchdog has measured, for the next attempt. */
  readonly watchdog: WatchdogLearned;
  readonly ledger: LedgerTip;
  /** Whether the ledger does not have this end yet: the store could not be asked. Absent: it has. */
  readonly unrecorded?: true;
}

/** A job that has its result. */
export interface FinishedAttempt {
  readonly state: 'done';
  readonly outcome: FinishedOutcome;
  /** Prefix of the stage that made it: another run's, where it was adopted from there. */
  readonly stageUrl: string;
  /** Why nothing was run; null: it was run. */
  readonly adopted: string | null;
  readonly ledger: LedgerTip;
}

/** What became of an attempt. */
export type AttemptEnd = FinishedAttempt | EndedAttempt;

/** How jobs are started, and what becomes of them when the worker goes. */
export interface JobSettings {
  /** Program and arguments that run a training container's entry point. */
  readonly command: readonly [string, ...string[]];
  /** Environment of every job, on top of what its backend gives it: the object store's endpoint among it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly onShutdown: OnShutdown;
  /** Digest of what a job runs: the image's, or that of the trainer's sources. */
  readonly codeDigest: string;
}

/** What the activities of this file need. */
export interface AttemptDependencies {
  readonly store: ObjectStore;
  readonly backend: Backend;
  readonly jobs: JobSettings;
}

/** An attempt to make. */
export interface RunAttemptInput {
  readonly run: string;
  /** Stage folder, `<nn-name>`. */
  readonly folder: string;
  readonly spec: JobSpec;
  /** Prefix below which results are shared. */
  readonly rootUrl: string;
  /** Whether a verified result of the same work by another run is adopted. */
  readonly reuse: boolean;
  /** How often the stage's settings were changed by a retry; names the spec's object. */
  readonly specRevision: number;
  /** Token of the claim: namespace, workflow id, run id, attempt. The same owner gets the same epoch. */
  readonly owner: string;
  /** Why there is this attempt, in one sentence. */
  readonly why: string;
  /** Where it begins. */
  readonly from: RetryFrom;
  /** Whether to make the result anew although there is one. */
  readonly force: boolean;
  readonly skipSteps: readonly StepWindow[];
  /** Assumed by the recipe at first, and then ever more what the stage has seen; null: unknown. */
  readonly meanSecondsBetweenInterruptions: number | null;
  /** Between SIGTERM and SIGKILL, seconds. */
  readonly graceSeconds: number;
  /** How long a job lives on without anyone watching it, seconds. */
  readonly leaseSeconds: number;
  readonly watchdog: { readonly settings: WatchdogSettings; readonly learned: WatchdogLearned };
  /** Nodes not to run on. */
  readonly avoidNodes: readonly string[];
  /** Tip of the stage's ledger. */
  readonly ledger: LedgerTip;
  /** Whether attempts before this one may be without their ends in the ledger. Absent: none is. */
  readonly recordsEnds?: boolean;
}
