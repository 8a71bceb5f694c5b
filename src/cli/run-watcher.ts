/** Reads where a run is: the workflow's own status, brought up to date by what running attempts report right now. */
import { WorkflowNotFoundError } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { z } from 'zod';
import { isOver } from '../domain/run/operator-actions.js';
import { attemptProgressSchema } from '../domain/run/progress.js';
import type { AttemptProgress } from '../domain/run/progress.js';
import { runStatusSchema } from '../domain/run/status.js';
import type { RunStatus, StageStatus } from '../domain/run/status.js';
import { describeWorkflow, isOpen } from '../temporal/workflow-state.js';
import { UserError } from './user-error.js';

const QUERY_MS = 10_000;

/** Reads the status of one run. */
export class RunWatcher {
  readonly #client: Client;
  readonly #run: string;

  constructor(client: Client, run: string) {
    this.#client = client;
    this.#run = run;
  }

  /**
   * The status now; undefined while the run does not answer (`whyUnanswered` says why).
   *
   * @throws {UserError} when there is no such run, or its worker is of another version
   */
  async read(): Promise<RunStatus | undefined> {
    const status = await this.#query();
    if (status === undefined || isOver(status.state)) return status;
    const closed = await this.#closing();
    if (closed !== null) return asClosed(status, closed);
    if (status.state !== 'running') return status;
    const running = status.stages.filter((stage) => stage.state === 'running');
    const progress = new Map<string, Heartbeat>();
    for (const { folder } of running) {
      const newest = await this.#heartbeat(folder);
      if (newest !== undefined) progress.set(folder, newest);
    }
    return {
      ...status,
      stages: status.stages.map((stage) => withProgress(stage, progress.get(stage.folder))),
    };
  }

  async #query(): Promise<RunStatus | undefined> {
    const answer = await this.#answer();
    if (answer === undefined) return undefined;
    const status = runStatusSchema.safeParse(answer);
    if (status.success) return status.data;
    throw new UserError(
      `The worker of ${this.#run} answers in another version's form: use the command line of its version.`,
    );
  }

  async #answer(): Promise<unknown> {
    try {
      return await this.#client.connection.withDeadline(Date.now() + QUERY_MS, () =>
        this.#client.workflow.getHandle(this.#run).query('status'),
      );
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) throw new UserError(`There is no run ${this.#run}.`);
      return undefined;
    }
  }

  /** How the workflow was closed from outside; null: it is open, or the server does not say. */
  async #closing(): Promise<Closing | null> {
    const described = await describeWorkflow(this.#client, this.#run).catch(() => null);
    if (described === null || isOpen(described)) return null;
    const endedAt = (described.closeTime ?? new Date()).toISOString();
    return { how: described.status.name.toLowerCase().replaceAll('_', ' '), endedAt };
  }

  /** Newest heartbeat of a stage's attempt or curation; undefined for stages that have none, or none yet. */
  async #heartbeat(folder: string): Promise<Heartbeat | undefined> {
    try {
      const { raw } = await this.#client.workflow.getHandle(`${this.#run}/${folder}`).describe();
      for (const activity of raw.pendingActivities ?? []) {
        const payload = activity.heartbeatDetails?.payloads?.[0];
        if (payload === undefined) continue;
        const progress = heartbeatSchema.safeParse(defaultPayloadConverter.fromPayload(payload));
        if (progress.success) return progress.data;
      }
    } catch {
      // A stage without a child workflow, or one that has just ended: its row has what the workflow knows.
    }
    return undefined;
  }
}

/** What running activities say of themselves: attempts how far they are, curations at least in which phase. */
const heartbeatSchema = z.union([attemptProgressSchema, z.object({ phase: z.string().max(100) })]);
type Heartbeat = AttemptProgress | { readonly phase: string };

/** A workflow that Temporal has closed without asking its code. */
export interface Closing {
  /** In Temporal's words: `terminated`, `timed out`. */
  readonly how: string;
  readonly endedAt: string;
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
  };
}
