/** Reads what a Temporal server still knows of a run. */
import { WorkflowNotFoundError } from '@temporalio/client';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { Payload } from '@temporalio/common';
import { optionalTsToDate } from '@temporalio/common/lib/time.js';
import { z } from 'zod';
import { QUERIES } from '../domain/run/messages.js';
import { OPERATOR_ACTIONS } from '../domain/run/operator-actions.js';
import { ledgerTipSchema } from '../domain/run/status.js';
import type { LedgerTip } from '../domain/run/status.js';
import type {
  HistoryAppend,
  HistoryAttempt,
  HistoryChild,
  HistoryFacts,
  HistoryPause,
  HistoryUpdate,
} from './history.js';

/** How long a worker may take to answer the status query. */
const QUERY_MS = 10_000;
const GRPC_NOT_FOUND = 5;

type HistoryEvent = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];

/** Form of a workflow run's id. No server has ever given another one. */
const RUN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Everything of a run that histories and its status tell. Read it before the ledger: then the ledger has what is told here.
 * @param run name of the run: the workflow that is asked, whatever the run's own objects say
 * @param runIds runs of the workflow that the ledger names; those that the server lists are read too
 */
export async function readHistory(
  client: Client,
  run: string,
  runIds: readonly string[],
): Promise<HistoryFacts> {
  const reader = new HistoryReader(client, run);
  const statusTip = await reader.statusTip();
  const newest = await reader.newest();
  const known = new Set(runIds);
  const query = `WorkflowId = "${run}"`;
  for await (const { runId } of client.workflow.list({ query })) known.add(runId);
  if (newest !== null) known.add(newest.runId);
  const unknown: string[] = [];
  const read: string[] = [];
  for (const runId of known) ((await reader.readRun(runId)) ? read : unknown).push(runId);
  return {
    namespace: client.options.namespace,
    runIds: read,
    unknown,
    newest,
    attempts: reader.attempts,
    appends: reader.appends,
    updates: [...reader.updates.values()].flatMap(asUpdate),
    children: reader.children,
    pauses: reader.pauses,
    statusTip,
  };
}

interface SeenUpdate {
  readonly id: string;
  readonly where: string;
  request: { readonly name: string; readonly input: unknown } | null;
  accepted: boolean;
  completed: boolean;
}

const attemptInputSchema = z.object({ owner: z.string() });
const saidSchema = z.object({ actor: z.string(), reason: z.string() });

function asUpdate({ id, where, request, accepted, completed }: SeenUpdate): HistoryUpdate[] {
  if (!accepted || request === null || !(request.name in OPERATOR_ACTIONS)) return [];
  const said = saidSchema.safeParse(request.input);
  return said.success ? [{ id, where, name: request.name, completed, ...said.data }] : [];
}

class HistoryReader {
  readonly appends: HistoryAppend[] = [];
  readonly attempts: HistoryAttempt[] = [];
  /** By run and id. */
  readonly updates = new Map<string, SeenUpdate>();
  readonly children: HistoryChild[] = [];
  readonly pauses: HistoryPause[] = [];

  constructor(
    private readonly client: Client,
    private readonly run: string,
  ) {}

  /** Tip that the workflow keeps; null: no worker answers, or the workflow is gone. */
  async statusTip(): Promise<LedgerTip | null> {
    try {
      const answer: unknown = await this.client.connection.withDeadline(Date.now() + QUERY_MS, () =>
        this.client.workflow.getHandle(this.run).query(QUERIES.status.name),
      );
      return z.object({ ledger: ledgerTipSchema }).parse(answer).ledger;
    } catch {
      return null;
    }
  }

  /** The workflow's newest run; null: the server has none. */
  async newest(): Promise<HistoryFacts['newest']> {
    try {
      const { runId, status } = await this.client.workflow.getHandle(this.run).describe();
      return { runId, status: status.name };
    } catch (error) {
      if (error instanceof WorkflowNotFoundError || isGrpcNotFound(error)) return null;
      throw error;
    }
  }

  /** One run of the `recipe` workflow and the children it started; false: its history is gone. */
  async readRun(runId: string): Promise<boolean> {
    const events = await this.#events(this.run, runId);
    if (events === null) return false;
    const where = `temporal:${this.run}/${runId}`;
    for (const event of events) {
      this.#takeAppend(event, null, where);
      this.#takeUpdate(event, where);
      this.#takePause(event, where);
      const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
      const folder = child?.workflowId?.slice(this.run.length + 1);
      if (folder !== undefined && typeof child?.runId === 'string')
        await this.#readChild(folder, child.runId);
    }
    return true;
  }

  /** A stage's workflow, through all the runs that it continued as. */
  async #readChild(folder: string, runId: string): Promise<void> {
    const workflowId = `${this.run}/${folder}`;
    let next: string | null = runId;
    while (next !== null) {
      const where = `temporal:${workflowId}/${next}`;
      this.children.push({ folder, where });
      const events: readonly HistoryEvent[] = (await this.#events(workflowId, next)) ?? [];
      next = null;
      for (const event of events) {
        this.#takeAppend(event, folder, where);
        this.#takeAttempt(event, folder);
        this.#takePause(event, where);
        const continued = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
        if (typeof continued === 'string' && continued !== '') next = continued;
      }
    }
  }

  /** null: the server has no such run. Its client tells that as gRPC does, and not by an error of its own. */
  async #events(workflowId: string, runId: string): Promise<readonly HistoryEvent[] | null> {
    if (!RUN_ID.test(runId)) return null;
    try {
      return (await this.client.workflow.getHandle(workflowId, runId).fetchHistory()).events ?? [];
    } catch (error) {
      if (error instanceof WorkflowNotFoundError || isGrpcNotFound(error)) return null;
      throw error;
    }
  }

  /** An attempt that a stage's workflow has asked for, by its owner token. */
  #takeAttempt({ activityTaskScheduledEventAttributes: scheduled }: HistoryEvent, folder: string): void {
    const input = attemptInputSchema.safeParse(decode(scheduled?.input?.payloads?.[0]));
    if (input.success) this.attempts.push({ folder, owner: input.data.owner });
  }

  /** Answers of activities and of local ones (markers) that are a tip, or hold one as `ledger`. */
  #takeAppend(event: HistoryEvent, folder: string | null, where: string): void {
    const { activityTaskCompletedEventAttributes: activity, markerRecordedEventAttributes: marker } = event;
    const local = marker?.markerName === 'core_local_activity' ? marker.details?.['result'] : undefined;
    const payload = (activity?.result ?? local)?.payloads?.[0];
    const answer = decode(payload);
    const tip = ledgerTipSchema.or(z.object({ ledger: ledgerTipSchema }).transform(({ ledger }) => ledger));
    const parsed = tip.safeParse(answer);
    if (parsed.success && parsed.data.records > 0) this.appends.push({ folder, tip: parsed.data, where });
  }

  #takePause(event: HistoryEvent, where: string): void {
    const { workflowExecutionPausedEventAttributes: paused } = event;
    const told = paused ?? event.workflowExecutionUnpausedEventAttributes;
    if (!told) return;
    const at = optionalTsToDate(event.eventTime)?.toISOString() ?? '';
    const { identity, reason } = told;
    this.pauses.push({ begins: Boolean(paused), by: identity ?? '', reason: reason ?? '', at, where });
  }

  #takeUpdate(event: HistoryEvent, where: string): void {
    const admitted = event.workflowExecutionUpdateAdmittedEventAttributes?.request;
    const accepted = event.workflowExecutionUpdateAcceptedEventAttributes;
    const completed = event.workflowExecutionUpdateCompletedEventAttributes;
    const id = admitted?.meta?.updateId ?? accepted?.protocolInstanceId ?? completed?.meta?.updateId;
    if (typeof id !== 'string') return;
    const seen = this.#seen(id, where);
    const input = (admitted ?? accepted?.acceptedRequest)?.input;
    if (typeof input?.name === 'string') {
      seen.request = { name: input.name, input: decode(input.args?.payloads?.[0]) };
    }
    if (accepted) seen.accepted = true;
    // A handler that failed has recorded nothing.
    if (completed?.outcome?.success) seen.completed = true;
  }

  /** Updates of one id: a reset copies the events of an update into the new run. */
  #seen(id: string, where: string): SeenUpdate {
    const found = this.updates.get(id) ?? { id, where, request: null, accepted: false, completed: false };
    this.updates.set(id, found);
    return found;
  }
}

function decode(payload: Payload | null | undefined): unknown {
  if (payload === null || payload === undefined) return undefined;
  try {
    return defaultPayloadConverter.fromPayload(payload);
  } catch {
    return undefined;
  }
}

function isGrpcNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === GRPC_NOT_FOUND;
}
