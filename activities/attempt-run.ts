/** One observed attempt: submits or adopts the job, follows its events, and reads how it ended. */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobObservation } from '../src/backends/backend.js';
import { eventFileSchema, EXIT_CODES, jobSpecSchema, outcomeSchema } from '../src/contracts/index.js';
import type { JobEvent, JobSpec, Outcome } from '../src/contracts/index.js';
import { classifyEnd } from '../src/domain/attempt-end.js';
import { jobName } from '../src/domain/job-names.js';
import { ProgressTracker } from '../src/domain/progress.js';
import type { AttemptDependencies, AttemptEnd, FinishedOutcome, RunAttemptInput } from './attempts.js';
import { fateOf } from './cancellation.js';

/** How often the backend is asked about the job. */
const OBSERVE_MS = 100;
/** How often the next event file is asked for. */
const EVENTS_MS = 1000;
/** Lines of the job's log that a failure shows. */
const LOG_LINES = 20;
/** How long a worker that hands over makes Temporal wait before the next one attaches. */
const HAND_OVER_DELAY = '20ms';

type Ended = Extract<JobObservation, { state: 'ended' }>;

/** Watches one attempt of a job from wherever it is to its end. */
export class AttemptRun {
  readonly #context = Context.current();
  readonly #name: string;
  #tracker: ProgressTracker;
  #nextEventFile = 1;
  #progressed = false;
  #signalled: string | null = null;
  #lastSignal = 0;

  constructor(
    private readonly deps: AttemptDependencies,
    private readonly input: RunAttemptInput,
  ) {
    this.#name = jobName(input.run, input.folder, input.epoch);
    this.#tracker = new ProgressTracker(input.epoch, null);
  }

  /** Runs or adopts the job and watches it; heartbeats all along, so that a dead worker is noticed. */
  async watch(): Promise<AttemptEnd> {
    const beat = setInterval(() => this.#context.heartbeat(this.#tracker.progress), this.#heartbeatMs());
    try {
      const spec = await this.#readSpec();
      this.#tracker = new ProgressTracker(this.input.epoch, spec.kind === 'train' ? spec.data.steps : null);
      await this.deps.backend.submit({
        name: this.#name,
        command: this.deps.jobs.command,
        environment: this.#environment(),
        graceSeconds: this.input.graceSeconds,
      });
      const ended = await this.#untilEnded();
      return await this.#conclude(spec, ended);
    } finally {
      clearInterval(beat);
    }
  }

  #heartbeatMs(): number {
    return Math.max(200, (this.#context.info.heartbeatTimeoutMs ?? 30_000) / 3);
  }

  #environment(): Record<string, string> {
    const { stageUrl, epoch, graceSeconds } = this.input;
    return {
      ...this.deps.jobs.environment,
      LONGHAUL_SPEC_URL: specUrl(stageUrl),
      LONGHAUL_EPOCH: String(epoch),
      LONGHAUL_GRACE_SECONDS: String(graceSeconds),
    };
  }

  /** Polls until the job has ended, or leaves it to another observer by throwing. */
  async #untilEnded(): Promise<Ended> {
    let stopping: string | null = null;
    let nextPoll = 0;
    for (;;) {
      const observation = await this.deps.backend.observe(this.#name);
      if (observation.state === 'ended') {
        await this.#readEvents();
        if (stopping !== null) throw this.#stopped(stopping);
        return observation;
      }
      if (this.#context.cancellationSignal.aborted && stopping === null) stopping = await this.#stopOrDetach();
      if (Date.now() >= nextPoll) {
        await this.#readEvents();
        nextPoll = Date.now() + EVENTS_MS;
      }
      await sleep(OBSERVE_MS);
    }
  }
