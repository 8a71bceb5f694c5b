/** Jobs that nobody answers for any more: how they are recognised, and stopped. */
import type { Context } from '@temporalio/activity';
import type { Backend, JobObservation } from '../../src/backends/backend.js';
import type { FoundOrphan } from '../../src/domain/run/janitor.js';
import { decodeLabels } from '../../src/domain/attempt/labels.js';
import type { JobLabels } from '../../src/domain/attempt/labels.js';
import { isStoreError } from '../../src/store/errors.js';
import { readHead } from '../../src/store/head.js';
import { readLease } from '../../src/store/lease.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { mapConcurrently } from '../../src/store/transfer.js';
import { describeWorkflow, isOpen } from '../../src/temporal/workflow-state.js';
import { recordEnd } from './orphan-record.js';

const PARALLEL = 8;
const OBSERVE_MS = 200;
/** A job gets its grace, and this long to be gone after it. */
const KILL_SECONDS = 10;

/**
 * What is known of a stage's workflow. `told`: it ended by code of ours, which has recorded what became of its jobs; `cut`: it was
 * terminated or timed out, and ran no code; `unknown`: there is no such workflow, or its history has expired.
 */
type WorkflowState = 'open' | 'told' | 'cut' | 'unknown';

/** A pass over the jobs of a backend. `settled`: names of jobs that need no further look, kept from pass to pass. */
export class OrphanSweep {
  readonly #workflows = new Map<
    string,
    Promise<{ readonly state: WorkflowState; readonly status: string }>
  >();

  constructor(
    private readonly context: Context,
    private readonly store: ObjectStore,
    private readonly backend: Backend,
    private readonly settled: Set<string>,
  ) {}

  /** Stops every orphan, sees it gone, and records its end. */
  async run(): Promise<FoundOrphan[]> {
    const names = (await this.backend.list()).filter((name) => !this.settled.has(name));
    return (await mapConcurrently(names, PARALLEL, (name) => this.#examine(name))).filter(
      (orphan) => orphan !== null,
    );
  }

  async #examine(name: string): Promise<FoundOrphan | null> {
    this.context.heartbeat();
    const observation = await this.backend.observe(name);
    if (observation.state === 'absent') return null;
    const labels = decodeLabels(await this.backend.labels(name));
    if (labels?.namespace !== this.context.info.namespace) {
      this.settled.add(name);
      return null;
    }
    try {
      return observation.state === 'running'
        ? await this.#examineRunning(name, labels)
        : await this.#examineEnded(name, labels, observation);
    } catch (error) {
      // A store in trouble says nothing about the job: the next pass looks again.
      if (isStoreError(error)) return null;
      throw error;
    }
  }

  async #examineRunning(name: string, labels: JobLabels): Promise<FoundOrphan | null> {
    const why = await this.#whyOrphan(labels);
    if (why === null) return null;
    await this.backend.terminate(name, labels.graceSeconds);
    const ended = await this.#untilEnded(name, labels.graceSeconds);
    const recorded =
      ended !== null &&
      (await recordEnd(this.store, this.backend, labels, { job: name, ended, stopped: true, why }));
    if (ended !== null) this.settled.add(name);
    return { job: name, why, recorded };
  }

  /** A job that has ended by itself may have nobody who tells of it. */
  async #examineEnded(
    name: string,
    labels: JobLabels,
    ended: Extract<JobObservation, { state: 'ended' }>,
  ): Promise<FoundOrphan | null> {
    const { state, status } = await this.#workflow(labels.workflowId);
    if (state === 'open') return null;
    const why = closedText(labels, status);
    const recorded =
      state === 'cut' &&
      (await recordEnd(this.store, this.backend, labels, { job: name, ended, stopped: false, why }));
    this.settled.add(name);
    return recorded ? { job: name, why, recorded } : null;
  }

  /** Why nobody answers for a running job; null: somebody does, or it can't be told yet. */
  async #whyOrphan(labels: JobLabels): Promise<string | null> {
    const { state, status } = await this.#workflow(labels.workflowId);
    switch (state) {
      case 'told':
      case 'cut':
        return closedText(labels, status);
      case 'unknown': {
        // Another Temporal server may know it: whoever watches the job renews its lease.
        const lease = await readLease(this.store, labels.stageUrl);
        const isWatched = lease?.epoch === labels.epoch && lease.isLive;
        return isWatched ? null : `there is no workflow ${labels.workflowId}, and its lease has run out`;
      }
      case 'open': {
        const { epoch } = (await readHead(this.store, labels.stageUrl)).value;
        return epoch > labels.epoch ? `attempt ${epoch} of its stage has taken over` : null;
      }
    }
  }

  #workflow(workflowId: string) {
    const known = this.#workflows.get(workflowId) ?? this.#describe(workflowId);
    this.#workflows.set(workflowId, known);
    return known;
  }

  async #describe(workflowId: string): Promise<{ readonly state: WorkflowState; readonly status: string }> {
    const described = await describeWorkflow(this.context.client, workflowId);
    if (described === null) return { state: 'unknown', status: 'not found' };
    const { name } = described.status;
    return { state: isOpen(described) ? 'open' : endOf(name), status: name.toLowerCase() };
  }

  async #untilEnded(
    name: string,
    graceSeconds: number,
  ): Promise<Extract<JobObservation, { state: 'ended' }> | null> {
    const deadline = performance.now() + (graceSeconds + KILL_SECONDS) * 1000;
    for (;;) {
      const observation = await this.backend.observe(name);
      if (observation.state === 'ended') return observation;
      if (observation.state === 'absent' || performance.now() > deadline) return null;
      this.context.heartbeat();
      await this.context.sleep(OBSERVE_MS);
    }
  }
}

function endOf(status: string): WorkflowState {
  return status === 'TERMINATED' || status === 'TIMED_OUT' ? 'cut' : 'told';
}

function closedText({ workflowId }: JobLabels, status: string): string {
  return `its workflow ${workflowId} is closed (${status})`;
}
