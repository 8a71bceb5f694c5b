/** Reads where a run is: the workflow's own status, brought up to date by what running attempts report right now. */
import { QueryRejectedError, WorkflowNotFoundError } from '@temporalio/client';
import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import { QUERIES } from '../domain/run/messages.js';
import { isOver } from '../domain/run/operator-actions.js';
import type { Warning } from '../domain/run/progress.js';
import { seenOf } from '../domain/run/status.js';
import type { RunStatus, StageStatus } from '../domain/run/status.js';
import { describeWorkflow, isOpen } from '../temporal/workflow-state.js';
import { pendingWork } from './pending-work.js';
import type { Heartbeat } from './pending-work.js';
import { UserError } from './user-error.js';

const QUERY_MS = 10_000;

/** Of records that wait the run's own status tells. */
const OF_THE_LEDGER = 'appendToLedger';

/** Reads the status of one run. */
export class RunWatcher {
  readonly #client: Client;
  readonly #run: string;
  #isHeld = false;

  constructor(client: Client, run: string) {
    this.#client = client;
    this.#run = run;
  }

  /** Whether the run did not answer lately because Temporal's own pause holds it. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /**
   * The status now; undefined while the run does not answer (`whyUnanswered` says why).
   *
   * @throws {UserError} when there is no such run, or its worker is of another version
   */
  async read(): Promise<RunStatus | undefined> {
    const status = await this.#query();
    if (status === undefined || isOver(status.state)) return status;
    const described = await describeWorkflow(this.#client, this.#run).catch(() => null);
    // A server that does not say whether the run is open has closed nothing.
    if (described !== null && !isOpen(described)) return asClosed(status, closingOf(described));
    const pending = described?.raw.pendingActivities ?? [];
    const { failing } = pendingWork(
      pending.filter(({ activityType }) => activityType?.name !== OF_THE_LEDGER),
    );
    return {
      ...status,
      warnings: failing === null ? status.warnings : [...status.warnings, failing.text],
      stages:
        status.state === 'running'
          ? await Promise.all(status.stages.map((stage) => this.#withWork(stage)))
          : status.stages,
    };
  }

  async #query(): Promise<RunStatus | undefined> {
    const answer = await this.#answer();
    if (answer === undefined) return undefined;
    const status = QUERIES.status.answer.safeParse(answer);
    if (status.success) return status.data;
    throw new UserError(
      `The worker of ${this.#run} answers in another version's form: use the command line of its version.`,
    );
  }

  async #answer(): Promise<unknown> {
    this.#isHeld = false;
    try {
      return await this.#client.connection.withDeadline(Date.now() + QUERY_MS, () =>
        this.#client.workflow.getHandle(this.#run).query(QUERIES.status.name),
      );
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) throw new UserError(`There is no run ${this.#run}.`);
      this.#isHeld = error instanceof QueryRejectedError;
      return undefined;
    }
  }

  /** A running stage with what its attempt reports right now, or what it waits for meanwhile. */
  async #withWork(stage: StageStatus): Promise<StageStatus> {
    if (stage.state !== 'running') return stage;
    const workflowId = `${this.#run}/${stage.folder}`;
    // A stage without a child workflow, or one that has just ended: its row has what the workflow knows.
    const described = await describeWorkflow(this.#client, workflowId).catch(() => null);
    if (described === null || !isOpen(described)) return stage;
    const { pendingActivities: pending } = described.raw;
    const isIdle = (pending ?? []).length === 0;
    const { progress, failing } = pendingWork(pending ?? []);
    const warning = failing ?? (isIdle ? await this.#waiting(workflowId) : null);
    const seen = withProgress(stage, progress);
    return warning === null ? seen : { ...seen, warning };
  }

  /** What a stage says that it waits for between two attempts. One of another kind or version says nothing. */
  async #waiting(workflowId: string): Promise<Warning | null> {
    try {
      const answer: unknown = await this.#client.connection.withDeadline(Date.now() + QUERY_MS, () =>
        this.#client.workflow.getHandle(workflowId).query(QUERIES.waiting.name),
      );
      return QUERIES.waiting.answer.safeParse(answer).data ?? null;
    } catch {
      return null;
    }
  }
}

/** A workflow that Temporal has closed without asking its code. */
export interface Closing {
  /** In Temporal's words: `terminated`, `timed out`. */
  readonly how: string;
  readonly endedAt: string;
}

function closingOf({ status, closeTime }: WorkflowExecutionDescription): Closing {
  const endedAt = (closeTime ?? new Date()).toISOString();
  return { how: status.name.toLowerCase().replaceAll('_', ' '), endedAt };
}

/** The status of a run that was closed from outside: its own code still says what it was doing, and does it no more. */
export function asClosed(status: RunStatus, { how, endedAt }: Closing): RunStatus {
  return {
    ...status,
    state: 'failed',
    endedAt,
    waitingFor: null,
    parked: null,
    problems: [...status.problems, `the workflow was ${how} from outside; nothing of the run goes on`],
    stages: status.stages.map((stage) =>
      stage.state === 'running' || stage.state === 'parked'
        ? { ...stage, state: 'cancelled', endedAt, secondsLeft: null, note: how }
        : stage,
    ),
  };
}

/** A stage's row with newer figures, if they are newer. */
export function withProgress(stage: StageStatus, progress: Heartbeat | undefined): StageStatus {
  if (progress === undefined) return stage;
  if (!('epoch' in progress)) return { ...stage, note: progress.phase };
  if (progress.epoch < stage.attempts) return stage;
  if (progress.epoch === stage.attempts && progress.step < (stage.step ?? 0)) return stage;
  const { epoch, phase, step, steps, tokens, loss, tokensPerSecond, secondsLeft } = progress;
  return {
    ...stage,
    attempts: epoch,
    note: phase,
    step,
    steps: steps ?? stage.steps,
    tokens,
    loss: loss ?? stage.loss,
    tokensPerSecond,
    secondsLeft,
    ...seenOf(progress),
  };
}
