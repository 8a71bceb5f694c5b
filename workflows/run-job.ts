/** Attempts of one stage's job until it is done, parked or paused. Shared by training and evaluation. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  isCancellation,
  patched,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { AttemptEnd, EndedAttempt, FinishedOutcome } from '../activities/attempt/types.js';
import { z } from 'zod';
import { jobSpecSchema } from '../src/contracts/job-spec.js';
import { nodesToAvoid } from '../src/domain/attempt/policy.js';
import type { AttemptBudgets, Reaction } from '../src/domain/attempt/policy.js';
import { meanBetweenInterruptions } from '../src/domain/plan/interval.js';
import { failureClassOf } from '../src/domain/attempt/failure-class.js';
import type { FailureClass } from '../src/domain/attempt/failure-class.js';
import { SIGNALS } from '../src/domain/run/messages.js';
import { RUN_NAME } from '../src/domain/run/names.js';
import { recipeSchema } from '../src/domain/recipe/schema.js';
import { firstLine } from '../src/domain/lib/text.js';
import { instantText } from '../src/domain/lib/time.js';
import { runAttempt, stopStageJobs } from './activity-proxies.js';
import { isOfCancellation } from './failures.js';
import { onSignal } from './incoming.js';
import type { DroppedMessages } from './incoming.js';
import { afterAttempt, jobStateSchema, nextFor } from './job-state.js';
import type { JobState } from './job-state.js';
import { pauseSignal } from './messages.js';

/** A stage's job and how it may be attempted. */
export const jobInputSchema = z.strictObject({
  run: z.string().regex(RUN_NAME),
  folder: z.string().min(1).max(100).describe('Stage folder, <nn-name>'),
  spec: jobSpecSchema,
  rootUrl: z.string().min(1).max(2000).describe('Prefix below which results are shared'),
  specRevision: z.int().nonnegative().describe("How often the stage's settings were changed by a retry"),
  execution: recipeSchema.shape.execution,
  gpus: z.int().positive().describe('Devices the job works with'),
  assumedMeanSeconds: z
    .number()
    .positive()
    .describe('Mean time between interruptions that the recipe assumes, seconds'),
  force: z.boolean().describe('Whether to make the result anew although there is one'),
  state: jobStateSchema,
});
export type JobInput = z.output<typeof jobInputSchema>;

/** What a failed stage tells the run that is to park. */
export interface JobFailure {
  readonly class: FailureClass;
  readonly message: string;
  /** Why it was not simply tried again. */
  readonly why: string;
  /** Checkpoints that a retry can begin at, newest first; null: not known. */
  readonly checkpoints: readonly string[] | null;
  readonly logTail: readonly string[];
}

/** What became of a job. */
export type JobEnd = {
  /** What a later attempt of the stage goes on from. */
  readonly job: JobState;
} & (
  | {
      readonly state: 'done';
      readonly outcome: FinishedOutcome;
      /** Prefix of the stage that made it: another run's, where it was adopted from there. */
      readonly stageUrl: string;
      /** Why nothing was run; null: it was run. */
      readonly adopted: string | null;
    }
  | { readonly state: 'parked'; readonly failure: JobFailure }
  | { readonly state: 'paused' }
);

/** A job between two runs of its workflow: it goes on as new with this state. */
export interface JobPassesOn {
  readonly state: 'continues';
  readonly with: JobState;
}

/** Attempts after which the workflow continues as new, so that no history grows with the number of preemptions. */
const ATTEMPTS_PER_RUN = 300;

/** Where people see what becomes of a job. */
export interface JobPage {
  /** Counts the messages that made no sense. */
  readonly dropped: DroppedMessages;
  /** The stage waits before its next attempt; null: it waits no longer. */
  waits(text: string | null): void;
}

/** Runs attempts until the job is done, or no further attempt is called for. */
export class JobRunner {
  #state: JobState;
  #budgets: AttemptBudgets;
  #pause = false;
  #scope = new CancellationScope();

  constructor(
    private readonly job: JobInput,
    private readonly page: JobPage,
  ) {
    this.#state = job.state;
    this.#budgets = job.execution.attempts;
    this.#listen();
  }

  /** @throws CancelledFailure when the workflow is cancelled; the job is gone by then. */
  async run(): Promise<JobEnd | JobPassesOn> {
    for (let here = 1; ; here += 1) {
      const end = await this.#attempt();
      // Cancelling the workflow stops the attempt like a pause does, and then the workflow has to end.
      if (CancellationScope.current().consideredCancelled)
        throw new CancelledFailure('the stage was cancelled');
      if (end === null) return this.#ended({ state: 'paused' });
      if (end.state === 'done') {
        const attempts = this.#state.attempts + (end.adopted === null ? 1 : 0);
        this.#state = { ...this.#state, attempts, ledger: end.ledger, unrecorded: false };
        const { outcome, stageUrl, adopted } = end;
        return this.#ended({ state: 'done', outcome, stageUrl, adopted });
      }
      if (end.state === 'refused') return this.#ended({ state: 'parked', failure: end.failure });
      this.#take(end);
      if (this.#isPausing()) return this.#ended({ state: 'paused' });
      const reaction = this.#reaction();
      if (reaction.kind === 'park')
        return this.#ended({ state: 'parked', failure: failureOf(end, reaction.why) });
      if (!(await this.#wait(reaction.waitSeconds, end))) return this.#ended({ state: 'paused' });
      if (here >= ATTEMPTS_PER_RUN || workflowInfo().continueAsNewSuggested) {
        return { state: 'continues', with: this.#state };
      }
    }
  }

  #listen(): void {
    setHandler(
      pauseSignal,
      () => {
        this.#pause = true;
        this.#scope.cancel();
      },
      { description: SIGNALS.pauseStage.meaning },
    );
    onSignal(SIGNALS.setBudgets, this.page.dropped, (budgets) => void (this.#budgets = budgets));
  }

  /** A method, since a pause may come at any await. */
  #isPausing(): boolean {
    return this.#pause;
  }

  #ended<E extends object>(end: E): E & { readonly job: JobState } {
    return { ...end, job: this.#state };
  }

  /** One attempt; null when the pause came before it had begun. */
  async #attempt(): Promise<AttemptEnd | Refused | null> {
    if (this.#isPausing()) return null;
    try {
      return await this.#scope.run(() => runAttempt(this.#attemptInput()));
    } catch (error) {
      if (isOfCancellation(error) && patched('cancelled-attempts-end')) return this.#leave();
      if (this.#isPausing() && isCancellation(error)) return null;
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      return { state: 'refused', failure: refusal };
    }
  }

  /**
   * An attempt was cancelled and told nothing: perhaps nobody watched its job just then. Whatever runs is stopped, and the next
   * attempt is another one.
   */
  async #leave(): Promise<null> {
    const { spec, execution } = this.job;
    const stage = { stageUrl: spec.stageUrl, graceSeconds: execution.graceSeconds };
    await CancellationScope.nonCancellable(() => stopStageJobs(stage));
    this.#state = { ...this.#state, attempts: this.#state.attempts + 1, unrecorded: true };
    return null;
  }

  #attemptInput(): Parameters<typeof runAttempt>[0] {
    const { run, folder, spec, rootUrl, specRevision, execution, force } = this.job;
    const {
      attempts,
      wallSeconds,
      interruptions,
      skipSteps,
      learned,
      records,
      why,
      from,
      ledger,
      unrecorded,
    } = this.#state;
    const { namespace, workflowId, runId } = workflowInfo();
    return {
      run,
      folder,
      spec,
      rootUrl,
      reuse: execution.reuse,
      specRevision,
      owner: `${namespace}/${workflowId}/${runId}/${attempts + 1}`,
      why,
      from,
      force,
      skipSteps,
      meanSecondsBetweenInterruptions: meanBetweenInterruptions(
        this.job.assumedMeanSeconds,
        wallSeconds,
        interruptions,
      ),
      graceSeconds: execution.graceSeconds,
      leaseSeconds: execution.leaseSeconds,
      watchdog: { settings: execution.watchdog, learned },
      avoidNodes: nodesToAvoid(records),
      ledger,
      ...(unrecorded === true ? { recordsEnds: true } : {}),
    };
  }

  #take(end: EndedAttempt): void {
    const { spec, execution } = this.job;
    const settings = { trains: spec.kind === 'train', skipSteps: execution.numerics.skipSteps };
    this.#state = {
      ...afterAttempt(this.#state, end, settings),
      learned: end.watchdog,
      ledger: end.ledger,
      unrecorded: end.unrecorded === true,
    };
  }

  #reaction(): Reaction {
    const { gpus, execution } = this.job;
    return nextFor(this.#state, this.#budgets, { gpus, withoutCommit: execution.withoutCommit });
  }

  /** Waits before a relaunch; false when a pause came. */
  async #wait(seconds: number, { epoch, class: failureClass, message }: EndedAttempt): Promise<boolean> {
    if (seconds === 0) return !this.#isPausing();
    const next = instantText(new Date(Date.now() + seconds * 1000).toISOString());
    this.page.waits(
      `the next attempt begins at ${next}; attempt ${epoch} ended as ${failureClass}: ${firstLine(message)}`,
    );
    try {
      await this.#scope.run(() => sleep(seconds * 1000));
      return true;
    } catch (error) {
      if (this.#isPausing() && isCancellation(error)) return false;
      throw error;
    } finally {
      this.page.waits(null);
    }
  }
}

/** An attempt that could not be made, or not be followed to its end, for a reason that waiting doesn't change. */
interface Refused {
  readonly state: 'refused';
  readonly failure: JobFailure;
}

function refusalOf(error: unknown): JobFailure | null {
  if (!(error instanceof ActivityFailure) || !(error.cause instanceof ApplicationFailure)) return null;
  const { message, nonRetryable, type } = error.cause;
  if (nonRetryable !== true) return null;
  const why = 'the attempt was refused, and would be again';
  return { class: failureClassOf(type), message, why, checkpoints: null, logTail: [] };
}

function failureOf(
  { class: failureClass, message, checkpoints, logTail }: EndedAttempt,
  why: string,
): JobFailure {
  return { class: failureClass, message, why, checkpoints, logTail };
}
