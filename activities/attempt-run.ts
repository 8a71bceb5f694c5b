/** One observed attempt: submits or adopts the job, follows its events, and reads how it ended. */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobObservation } from '../src/backends/backend.js';
import { eventFileSchema, EXIT_CODES, jobSpecSchema, outcomeSchema } from '../src/contracts/index.js';
import type { JobEvent, JobSpec, Outcome } from '../src/contracts/index.js';
import { classifyEnd } from '../src/domain/attempt-end.js';
import { jobName } from '../src/domain/job-names.js';
import { ProgressTracker } from '../src/domain/progress.js';
import { isStoreError } from '../src/store/errors.js';
import { stageLayout } from '../src/store/layout.js';
import { encodeJson } from '../src/store/object-store.js';
import type { AttemptDependencies, AttemptEnd, RunAttemptInput } from './attempt-types.js';
import { fateOf } from './cancellation.js';
import type { JobFate } from './cancellation.js';
import { ProgressReporter } from './progress-reporter.js';
import { resultUrl } from './stage-result.js';

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
  readonly #urls: ReturnType<typeof stageLayout>;
  readonly #reporter: ProgressReporter;
  #nextEventFile = 1;
  #progressed = false;

  constructor(
    private readonly deps: AttemptDependencies,
    private readonly input: RunAttemptInput,
  ) {
    this.#name = jobName(input.run, input.folder, input.epoch);
    this.#urls = stageLayout(input.stageUrl);
    this.#reporter = new ProgressReporter(this.#context, new ProgressTracker(input.epoch, null));
  }

  /**
   * Runs or adopts the job and watches it to its end.
   * @throws CancelledFailure when the stage was cancelled and the job is gone; ApplicationFailure, to be retried, when another
   * worker is to go on watching.
   */
  async watch(): Promise<AttemptEnd> {
    this.#reporter.startHeartbeat();
    try {
      const spec = (await this.deps.store.getJson(this.#urls.spec, jobSpecSchema)).value;
      this.#reporter.tracker = new ProgressTracker(
        this.input.epoch,
        spec.kind === 'train' ? spec.data.steps : null,
      );
      await this.deps.backend.submit({
        name: this.#name,
        command: this.deps.jobs.command,
        environment: this.#environment(),
        graceSeconds: this.input.graceSeconds,
      });
      return await this.#conclude(spec, await this.#untilEnded());
    } finally {
      this.#reporter.stopHeartbeat();
    }
  }

  #environment(): Record<string, string> {
    const { epoch, graceSeconds } = this.input;
    return {
      ...this.deps.jobs.environment,
      LONGHAUL_SPEC_URL: this.#urls.spec,
      LONGHAUL_EPOCH: String(epoch),
      LONGHAUL_GRACE_SECONDS: String(graceSeconds),
    };
  }

  async #untilEnded(): Promise<Ended> {
    let fate: JobFate | null = null;
    let nextPoll = 0;
    for (;;) {
      const observation = await this.deps.backend.observe(this.#name);
      if (observation.state === 'ended') {
        if (fate !== null) throw stopped(fate);
        await this.#readEvents();
        return observation;
      }
      if (fate === null && this.#context.cancellationSignal.aborted) fate = await this.#cancel();
      if (Date.now() >= nextPoll) {
        await this.#readEvents();
        nextPoll = Date.now() + EVENTS_MS;
      }
      await sleep(OBSERVE_MS);
    }
  }

  /** Asks the job to stop, or throws to leave it to another observer. */
  async #cancel(): Promise<JobFate> {
    const fate = await fateOf(this.#context, this.deps.jobs.onShutdown);
    if (fate.kind === 'detach') throw stopped(fate);
    await this.deps.backend.terminate(this.#name, this.input.graceSeconds);
    return fate;
  }

  /** Takes every event file that is there by now. A store in trouble is not the job's trouble: the next poll tries again. */
  async #readEvents(): Promise<void> {
    try {
      for (;;) {
        const url = this.#urls.eventFile(this.input.epoch, this.#nextEventFile);
        const file = await this.deps.store.findJson(url, eventFileSchema);
        if (file === null) return;
        this.#nextEventFile += 1;
        file.value.events.forEach((event) => this.#take(event));
      }
    } catch (error) {
      if (!isStoreError(error, 'unavailable')) throw error;
    }
  }

  #take(event: JobEvent): void {
    if (event.type === 'commit' || event.type === 'sample') this.#progressed = true;
    this.#reporter.take(event);
  }

  /** What the ended job amounts to. The outcome is read until the store answers: guessing would cost a finished stage. */
  async #conclude(spec: JobSpec, ended: Ended): Promise<AttemptEnd> {
    const outcome =
      (await this.deps.store.findJson(this.#urls.outcome(this.input.epoch), outcomeSchema))?.value ?? null;
    if (outcome !== null && outcome.result !== 'ended') {
      await this.deps.store.create(resultUrl(spec.stageUrl), encodeJson(outcome));
      return { state: 'done', outcome };
    }
    const verdict = classifyEnd({ ...ended, outcome, exitCodes: EXIT_CODES });
    return {
      state: 'ended',
      ...verdict,
      progressed: this.#progressed,
      logTail: await this.deps.backend.logs(this.#name, LOG_LINES),
      ...secondsOf(outcome),
    };
  }
}

function secondsOf(outcome: Outcome | null): { readonly step: number } {
  return { step: outcome?.step ?? 0 };
}

/** How an activity ends whose job was stopped, or left to others. */
function stopped(fate: JobFate): Error {
  if (fate.kind === 'stop' && fate.why === 'cancelled') return new CancelledFailure('the job was stopped');
  return ApplicationFailure.create({
    type: fate.why,
    message:
      fate.kind === 'stop' ? `the job was stopped: ${fate.why}` : `left to another worker: ${fate.why}`,
    nextRetryDelay: HAND_OVER_DELAY,
  });
}
