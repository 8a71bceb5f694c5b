/**
 * Where training containers run. A backend knows names, commands and exit codes, and nothing about training:
 * everything a job has to say it says through the object store.
 */
import type { SchedulerReason } from '../domain/attempt/verdict.js';

/** A job to run. Its name is its identity: the same name is never run twice. */
export interface JobRequest {
  /** Deterministic name, made of run, stage and epoch; letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  /** Program and arguments; no shell reads them. */
  readonly command: readonly [string, ...string[]];
  /** Environment on top of the backend's own. May hold secrets: never logged, never stored. */
  readonly environment: Readonly<Record<string, string>>;
  /** Seconds between SIGTERM and SIGKILL when the job is asked to stop. */
  readonly graceSeconds: number;
  /** What the backend keeps with the job for whoever finds it later: whose it is, say. No secrets. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Nodes not to run on, as `observe` names them. A backend of one machine has no choice. Default: none. */
  readonly avoidNodes?: readonly string[];
}

/** What a backend knows of a job. */
export type JobObservation =
  | { readonly state: 'absent' }
  | { readonly state: 'running'; readonly startedAt: string }
  | {
      readonly state: 'ended';
      /** Exit code; 128 + n for a signal n; null when nobody was there to see it (machine gone, watcher killed). */
      readonly exitCode: number | null;
      /** The scheduler's own word for the end, where it has one. */
      readonly reason?: SchedulerReason;
      /** By the same clock as `endedAt`; absent: the backend doesn't say. */
      readonly startedAt?: string;
      readonly endedAt: string;
      /** Where it ran; absent: the backend doesn't say. */
      readonly node?: string;
    };

/** Whether a submission started the job or found it there; `full`: neither, because as many run as may: it can be tried again. */
export type Submission = 'started' | 'adopted' | 'full';

/** One place to run jobs. */
export interface Backend {
  /** Starts the job if there is room for one more, or adopts the one of that name, running or ended. Safe to repeat and to race. */
  submit(request: JobRequest): Promise<Submission>;
  /** The job as it is now. */
  observe(name: string): Promise<JobObservation>;
  /** Asks the job to stop: SIGTERM, and SIGKILL after its grace. Returns at once; 0 kills at once. */
  terminate(name: string, graceSeconds: number): Promise<void>;
  /** The last lines the job wrote to stdout and stderr. */
  logs(name: string, lines: number): Promise<string[]>;
  /** Names of every job the backend remembers. */
  list(): Promise<string[]>;
  /** What the job was labelled with; empty for a job without labels, or none of that name. */
  labels(name: string): Promise<Readonly<Record<string, string>>>;
}

/** What the world outside does to a running job's processes. */
export type JobSignal = 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT';

/** A backend whose jobs can be signalled past its own bookkeeping, as a machine's owner would. For drills. */
export interface SignalsJobs {
  /** Signals all processes of a running job. False: it does not run. */
  signal(name: string, signal: JobSignal): Promise<boolean>;
}
