/** Strikes a run with the faults of a schedule while it lasts. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend, SignalsJobs } from '../backends/backend.js';
import { headSchema, jobSpecSchema } from '../contracts/index.js';
import type { CommitId } from '../contracts/index.js';
import { jobName } from '../domain/run/names.js';
import { isStoreError } from '../store/errors.js';
import { runLayout, stageLayout } from '../contracts/layout.js';
import type { ObjectStore } from '../store/object-store.js';
import type { FaultKind, PlannedFault } from './schedule.js';

/** How often the drill looks for a running job. */
const LOOK_MS = 100;

/** A worker that the drill owns: it may end it, and starts another. */
export interface DrillWorker {
  /** Ends the worker, at once or by telling it to, and starts another. Returns when both are done. */
  restart(how: 'kill' | 'drain'): Promise<void>;
}

/** What a drill strikes. */
export interface DrillTargets {
  readonly store: ObjectStore;
  readonly backend: Backend & Partial<SignalsJobs>;
  /** null: workers are somebody else's, and are left alone. */
  readonly worker: DrillWorker | null;
  readonly run: string;
  readonly runUrl: string;
  /** Grace of a preemption, seconds. */
  readonly graceSeconds: number;
}

/** A fault that struck. */
export interface InjectedFault {
  readonly kind: FaultKind;
  /** Instant, ISO 8601. */
  readonly at: string;
  /** Stage folder. */
  readonly stage: string;
  /** The job that ran at that moment. */
  readonly job: string;
  /** Newest committed step of the stage at that moment; null: none yet. */
  readonly committedStep: number | null;
}

/** A job that runs now, and its stage's newest commit. */
export interface RunningJob {
  readonly stage: string;
  readonly name: string;
  readonly commit: { readonly id: CommitId; readonly step: number } | null;
  /** Whether its stage commits checkpoints at all. */
  readonly commits: boolean;
}

/** Kinds that can be brought about in these targets. */
export function possibleKinds(
  targets: Pick<DrillTargets, 'backend' | 'worker'>,
  kinds: readonly FaultKind[],
): FaultKind[] {
  return kinds.filter((kind) => {
    switch (kind) {
      case 'preempt':
      case 'kill':
        return true;
      case 'freeze':
        return targets.backend.signal !== undefined;
      case 'kill-worker':
      case 'drain-worker':
        return targets.worker !== null;
    }
  });
}

/**
 * Lets the faults strike one after the other until all did or `over` fires; returns those that did. Each waits for a running
 * job. A `kill` also waits until the stage has committed something since the last one: the same unexplained death
 * twice without a commit in between is what makes a stage park, and rightly.
 */
export async function injectFaults(
  targets: DrillTargets,
  schedule: readonly PlannedFault[],
  over: AbortSignal,
  onFault: (fault: InjectedFault) => void = () => undefined,
): Promise<InjectedFault[]> {
  const injector = new Injector(targets, over);
  const injected: InjectedFault[] = [];
  for (const fault of schedule) {
    if (over.aborted) break;
    const struck = await injector.perform(fault);
    if (struck === null) continue;
    injected.push(struck);
    onFault(struck);
  }
  return injected;
}

class Injector {
  /** Per stage, its commit at the last kill. */
  readonly #killedAt = new Map<string, CommitId | null>();
  #seen: { readonly stage: string; readonly commit: CommitId | null } | null = null;
  #commits = 0;
  /** A job that was taken away, and may not have ended yet. */
  #ending: string | null = null;

  constructor(
    private readonly targets: DrillTargets,
    private readonly over: AbortSignal,
  ) {}

  /** Waits for the fault's moment and brings it about. null: the run was over, or the job gone, before it could. */
  async perform(fault: PlannedFault): Promise<InjectedFault | null> {
    this.#commits = 0;
    if ((await this.#candidate(fault)) === null) return null;
    await pause(fault.afterSeconds * 1000, this.over);
    // The job may have ended in the meantime; then the next one is struck as soon as it runs.
    const job = await this.#candidate(fault);
    const at = new Date().toISOString();
    if (job === null || !(await strike(this.targets, fault, job))) return null;
    if (fault.kind === 'kill') this.#killedAt.set(job.stage, job.commit?.id ?? null);
    if (fault.kind === 'kill' || fault.kind === 'preempt') this.#ending = job.name;
    return {
      kind: fault.kind,
      at,
      stage: job.stage,
      job: job.name,
      committedStep: job.commit?.step ?? null,
    };
  }

  /** The next running job that the fault may strike; null when the run is over first. */
  async #candidate({ kind, afterCommits }: PlannedFault): Promise<RunningJob | null> {
    while (!this.over.aborted) {
      const job = await runningJob(this.targets);
      if (job !== null) {
        this.#count(job);
        if ((!job.commits || this.#commits >= afterCommits) && this.#mayStrike(kind, job)) return job;
      }
      await pause(LOOK_MS, this.over);
    }
    return null;
  }

  #count({ stage, commit }: RunningJob): void {
    const id = commit?.id ?? null;
    if (this.#seen?.stage === stage && this.#seen.commit !== id) this.#commits += 1;
    this.#seen = { stage, commit: id };
  }

  #mayStrike(kind: FaultKind, { stage, commit, name }: RunningJob): boolean {
    if (name === this.#ending) return false;
    if (kind !== 'kill' || !this.#killedAt.has(stage)) return true;
    return this.#killedAt.get(stage) !== (commit?.id ?? null);
  }
}

/** Brings a fault about. False: the job was gone before it could be struck. */
async function strike(
  { backend, worker, graceSeconds }: DrillTargets,
  { kind, frozenSeconds }: PlannedFault,
  { name }: RunningJob,
): Promise<boolean> {
  switch (kind) {
    case 'preempt':
      await backend.terminate(name, graceSeconds);
      return true;
    case 'kill':
      await backend.terminate(name, 0);
      return true;
    case 'freeze':
      if ((await backend.signal?.(name, 'SIGSTOP')) !== true) return false;
      await sleep(frozenSeconds * 1000);
      await backend.signal?.(name, 'SIGCONT');
      return true;
    case 'kill-worker':
      await worker?.restart('kill');
      return worker !== null;
    case 'drain-worker':
      await worker?.restart('drain');
      return worker !== null;
  }
}

/** The job of the run that runs now: of the newest stage that has a `HEAD` and no result, its newest epoch's. */
export async function runningJob(
  targets: Pick<DrillTargets, 'store' | 'backend' | 'run' | 'runUrl'>,
): Promise<RunningJob | null> {
  const { store, backend, run, runUrl } = targets;
  try {
    const layout = runLayout(runUrl);
    for (const stage of (await store.folders(layout.stages)).sort().reverse()) {
      const urls = stageLayout(layout.stage(stage));
      const head = (await store.findJson(urls.head, headSchema))?.value;
      if (head === undefined) continue;
      const name = jobName(run, stage, head.epoch);
      const { state } = await backend.observe(name);
      if (state !== 'running') return null;
      // Whichever revision of the spec the job works by: none changes the kind.
      const { kind } = (await store.getJson(urls.spec, jobSpecSchema)).value;
      return { stage, name, commit: head.commit, commits: kind === 'train' };
    }
    return null;
  } catch (error) {
    if (isStoreError(error, 'unavailable')) return null;
    throw error;
  }
}

/** Sleeps, but not beyond the end of the run. */
async function pause(milliseconds: number, over: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal: over }).catch(() => undefined);
}
