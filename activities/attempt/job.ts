/** One job under watch: submits or adopts it, follows its events, sees that it advances, and stops it when told to. */
import { CancelledFailure } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/activity';
import type { Context } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobObservation, Submission } from '../../src/backends/backend.js';
import { eventFileSchema } from '../../src/contracts/index.js';
import type { Digest, Epoch, JobEvent } from '../../src/contracts/index.js';
import type { AttemptFacts } from '../../src/domain/attempt/facts.js';
import { encodeLabels } from '../../src/domain/attempt/labels.js';
import { instantText } from '../../src/domain/lib/time.js';
import { jobName } from '../../src/domain/run/names.js';
import type { StopReason } from '../../src/domain/attempt/verdict.js';
import { StepWatchdog, hangText } from '../../src/domain/attempt/watchdog.js';
import { sha256 } from '../../src/store/digest.js';
import { isStoreError } from '../../src/store/errors.js';
import { stageLayout } from '../../src/contracts/layout.js';
import { readLease, renewLease } from '../../src/store/lease.js';
import { parseJson } from '../../src/store/object-store.js';
import type { AttemptDependencies, RunAttemptInput } from './types.js';
import { fateOf, isCancelRequested } from '../lib/cancellation.js';
import type { JobFate } from '../lib/cancellation.js';
import { QueueTeller } from '../lib/queue.js';
import type { ProgressReporter } from './progress.js';
import { StoreTrouble } from './store-trouble.js';

/** Largest event file: a job writes a few hundred events into one, and a larger one would keep a worker from its heartbeats. */
const MAX_EVENT_FILE_BYTES = 16 * 2 ** 20;

/** Lines of a job's log that a failure shows, and that are searched for its last words. */
export const LOG_LINES = 20;

/** How often the backend is asked about the job. */
const OBSERVE_MS = 20;
/** How often the next event file is asked for, and the watchdog asked what it thinks. */
const EVENTS_MS = 1000;
/** How often a lease is renewed at least, however long it holds: what a store that is full refuses is noticed by that. */
const RENEW_MS = 30_000;
/** How soon a renewal that the store refused is tried again. */
const RENEW_AGAIN_MS = 5_000;
/** After so long without a word of the job a reader should know how old its figures are. */
const UNHEARD_MS = 20_000;
/** How often a backend that is full is asked for a place. */
const PLACE_MS = 500;

type Ended = Extract<JobObservation, { state: 'ended' }>;

/** How a watched job ended. */
export interface JobEnd {
  readonly ended: Ended;
  /** null: the job ended by itself, or was ended by others. */
  readonly stop: StopReason | null;
  /** From being told to stop to its end, seconds. */
  readonly stoppingSeconds: number;
  /** Without progress before the watchdog stopped it, seconds. */
  readonly hungSeconds: number;
}

/** Watches the job of one epoch from wherever it is to its end. */
export class AttemptJob {
  readonly name: string;
  readonly watchdog: StepWatchdog;
  readonly #urls: ReturnType<typeof stageLayout>;
  #nextEventFile = 1;
  #storeReadable = true;
  #nextPoll = 0;
  #nextLease = 0;
  #isQueued = false;
  readonly #queue: QueueTeller;
  #looking: Promise<void> | null = null;
  /** Why looking at the job failed for another reason than the store's trouble. */
  #failure: { readonly error: unknown } | null = null;
  #stop: StopReason | null = null;
  #stopAt = 0;
  #hungSeconds = 0;
  readonly #trouble = new StoreTrouble();
  /** When the job was last heard of, milliseconds since 1970; null: it was not yet. */
  #heardAt: number | null = null;
  readonly #eventDigests = new Map<string, Digest>();

  constructor(
    private readonly deps: AttemptDependencies,
    private readonly context: Context,
    private readonly input: RunAttemptInput,
    private readonly epoch: Epoch,
    private readonly reporter: ProgressReporter,
  ) {
    this.name = jobName(input.run, input.folder, epoch);
    this.#urls = stageLayout(input.spec.stageUrl);
    this.#queue = new QueueTeller(context);
    this.watchdog = new StepWatchdog(input.watchdog.settings, input.watchdog.learned);
  }

  /** What the events have told so far. */
  get facts(): AttemptFacts {
    return this.reporter.tracker.facts;
  }

  /** Digests of the event files as they were read, by URL. */
  get eventDigests(): ReadonlyMap<string, Digest> {
    return this.#eventDigests;
  }

  /**
   * Starts the job, or finds it started. Its lease is renewed first: a job must not read one that has run out. Where the backend is
   * full, it waits as `queued` until there is a place.
   * @throws CancelledFailure instead of starting what is to stop at once; ApplicationFailure `queued`, to be tried again, where this
   * worker stops waiting for another reason.
   */
  async submit(): Promise<void> {
    if (!isCancelRequested(this.context) && (await this.#isAbsent())) await this.#refuseElsewhere();
    for (;;) {
      if (performance.now() >= this.#nextLease) await this.#renewLease();
      if (isCancelRequested(this.context) && (await this.#isAbsent()))
        throw new CancelledFailure('cancelled before its job began');
      const submission = await this.#submitOnce();
      // One whose worker is gone may have told that it waits.
      if (submission === 'started' && (this.#isQueued || this.context.info.attempt > 1))
        this.#queue.tell(false);
      if (submission !== 'full') return;
      await this.#waitForPlace();
    }
  }

  async #waitForPlace(): Promise<void> {
    const { cancellationSignal, log } = this.context;
    if (!this.#isQueued) {
      log.info('queued: as many jobs run as may', { job: this.name });
      this.#queue.tell(true);
    }
    this.#isQueued = true;
    this.reporter.goesOn();
    if (cancellationSignal.aborted && !isCancelRequested(this.context)) {
      const message = `job ${this.name} was queued, and its worker waits no longer`;
      throw ApplicationFailure.create({ type: 'queued', message, nextRetryDelay: '2s' });
    }
    await sleep(PLACE_MS);
  }

  #submitOnce(): Promise<Submission> {
    const { graceSeconds, specRevision, avoidNodes, run, folder, spec } = this.input;
    const { namespace, workflowExecution } = this.context.info;
    return this.deps.backend.submit({
      name: this.name,
      command: this.deps.jobs.command,
      environment: {
        ...this.deps.jobs.environment,
        LONGHAUL_SPEC_URL: this.#urls.specOf(specRevision),
        LONGHAUL_EPOCH: String(this.epoch),
        LONGHAUL_GRACE_SECONDS: String(graceSeconds),
      },
      graceSeconds,
      avoidNodes,
      labels: encodeLabels({
        namespace,
        workflowId: workflowExecution?.workflowId ?? run,
        run,
        folder,
        stageUrl: spec.stageUrl,
        epoch: this.epoch,
        graceSeconds,
      }),
    });
  }

  /**
   * Sees the job to its end. What the store has to tell comes beside that: a read that hangs keeps nobody from noticing that the
   * job has ended, or is to be stopped.
   * @throws whatever makes the observer leave a running job to another one.
   */
  async untilEnded(detached: (fate: JobFate) => Error): Promise<JobEnd> {
    for (;;) {
      const observation = await this.deps.backend.observe(this.name);
      if (observation.state === 'ended') return this.#endOf(observation);
      if (observation.state === 'running') this.reporter.goesOn();
      if (this.#stop === null && this.context.cancellationSignal.aborted) {
        const fate = await fateOf(this.context, this.deps.jobs.onShutdown);
        if (fate.kind === 'detach') {
          // A look that is under way stops no job that is somebody else's by now.
          this.#stop = fate;
          throw detached(fate);
        }
        await this.#terminate(fate);
      }
      if (this.#failure !== null) throw this.#failure.error;
      this.#lookIfDue();
      this.reporter.warn(this.#waitsFor());
      await sleep(OBSERVE_MS);
    }
  }

  /**
   * Stops the job, whatever the store has to tell of it, and waits for its end; null: it never began.
   * `why`: what counts if nobody has stopped it before.
   */
  async stop(why: StopReason): Promise<JobEnd | null> {
    if (this.#stop === null) await this.#terminate(why);
    for (;;) {
      const observation = await this.deps.backend.observe(this.name);
      if (observation.state === 'ended') return this.#endOf(observation);
      if (observation.state === 'absent') return null;
      await sleep(OBSERVE_MS);
    }
  }

  /**
   * A job that this worker's backend doesn't know may run under another worker's, as where each has a folder of its own for its local
   * jobs: it has told of itself, and its lease is renewed. Started here too, it would be a second process of one attempt.
   * @throws ApplicationFailure `elsewhere`, to be tried again: that worker goes on watching, or the lease runs out.
   */
  async #refuseElsewhere(): Promise<void> {
    const { store } = this.deps;
    const lease = await readLease(store, this.input.spec.stageUrl);
    if (lease?.epoch !== this.epoch || !lease.isLive) return;
    if (!(await store.exists(this.#urls.eventFile(this.epoch, 1)))) return;
    const message = `job ${this.name} runs elsewhere: its lease is live, and this worker's backend does not know it`;
    throw ApplicationFailure.create({ type: 'elsewhere', message, nextRetryDelay: '2s' });
  }

  async #isAbsent(): Promise<boolean> {
    return (await this.deps.backend.observe(this.name)).state === 'absent';
  }

  /** Takes what an ended job has told last. */
  async takeLastEvents(): Promise<void> {
    await this.#looking;
    await this.#readEvents();
  }

  /** One look at a time, which the store may keep waiting until its requests time out. */
  #lookIfDue(): void {
    if (this.#looking !== null || performance.now() < this.#nextPoll) return;
    this.#looking = this.#look()
      .catch((error: unknown) => void (this.#failure = { error }))
      .finally(() => (this.#looking = null));
  }

  #endOf(ended: Ended): JobEnd {
    const stoppingSeconds = this.#stop === null ? 0 : (performance.now() - this.#stopAt) / 1000;
    return { ended, stop: this.#stop, stoppingSeconds, hungSeconds: this.#hungSeconds };
  }

  /** The newest events, the lease, and what the watchdog thinks of it all. */
  async #look(): Promise<void> {
    await this.#readEvents();
    this.#nextPoll = performance.now() + EVENTS_MS;
    if (performance.now() >= this.#nextLease) await this.#renewLease();
    const monotonicSeconds = performance.now() / 1000;
    const verdict = this.watchdog.tick({ monotonicSeconds, storeReadable: this.#storeReadable });
    if (!verdict.hung || this.#stop !== null) return;
    this.#hungSeconds = verdict.secondsWithoutProgress;
    await this.#terminate({ kind: 'hang', why: hangText(verdict), phase: verdict.phase });
  }

  async #terminate(reason: StopReason): Promise<void> {
    this.#stop = reason;
    this.#stopAt = performance.now();
    await this.deps.backend.terminate(this.name, this.input.graceSeconds);
  }

  /** What keeps this watcher waiting, in one sentence; null: nothing does. */
  #waitsFor(): string | null {
    const { warning } = this.#trouble;
    const heardAt = this.#heardAt;
    if (warning === null || heardAt === null || Date.now() - heardAt < UNHEARD_MS) return warning;
    return `${warning}. The job was last heard of at ${instantText(new Date(heardAt).toISOString())}`;
  }

  /** A store in trouble does not end a job: whoever can't read the lease doesn't act on it either. */
  async #renewLease(): Promise<void> {
    const { spec, leaseSeconds } = this.input;
    const everyMs = Math.min((leaseSeconds * 1000) / 3, RENEW_MS);
    this.#nextLease = performance.now() + everyMs;
    try {
      await this.#trouble.ask('lease', () =>
        renewLease(this.deps.store, spec.stageUrl, this.epoch, leaseSeconds),
      );
    } catch (error) {
      if (!isStoreError(error, 'unavailable')) throw error;
      this.#nextLease = performance.now() + Math.min(everyMs, RENEW_AGAIN_MS);
    }
  }

  /** Takes every event file that is there by now. A store in trouble is not the job's trouble: the next look tries again. */
  async #readEvents(): Promise<void> {
    try {
      for (;;) {
        const url = this.#urls.eventFile(this.epoch, this.#nextEventFile);
        const found = await this.#trouble.ask('events', () =>
          this.deps.store.find(url, { maxBytes: MAX_EVENT_FILE_BYTES }),
        );
        this.#storeReadable = true;
        if (found === null) return;
        const file = parseJson(url, found.data, eventFileSchema);
        this.#eventDigests.set(url, sha256(found.data));
        this.#nextEventFile += 1;
        file.events.forEach((event) => this.#take(event));
      }
    } catch (error) {
      if (!isStoreError(error, 'unavailable')) throw error;
      this.#storeReadable = false;
    }
  }

  #take(event: JobEvent): void {
    this.#heardAt = Date.now();
    this.watchdog.add(event);
    this.reporter.take(event);
  }
}
