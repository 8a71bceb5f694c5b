/** One run of the chaos recipe: where it is, what to strike, and whether it came out as the undisturbed one did. */
import { WorkflowFailedError } from '@temporalio/client';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { headSchema } from '../../../src/contracts/index.js';
import type { Epoch, Head, JobEvent, Outcome } from '../../../src/contracts/index.js';
import { checkChain } from '../../../src/domain/ledger/chain.js';
import { QUERIES, WORKFLOWS } from '../../../src/domain/run/messages.js';
import { jobName } from '../../../src/domain/run/names.js';
import type { RunStatus } from '../../../src/domain/run/status.js';
import { TASK_QUEUE } from '../../../src/domain/run/task-queues.js';
import { compareRuns } from '../../../src/drill/compare.js';
import { readEvidence } from '../../../src/drill/evidence.js';
import { ledgerProblems } from '../../../src/drill/ledger.js';
import { readEventFiles, readOutcome } from '../../../src/store/attempt-files.js';
import { rootLayout, runLayout, stageLayout } from '../../../src/contracts/layout.js';
import { readChain } from '../../../src/store/ledger.js';
import { pendingUploads } from '../../../src/store/stale-uploads.js';
import { ask } from '../../../src/temporal/messages.js';
import { TEST_MS } from '../../support/patience.js';
import type { ChaosStack } from './chaos-stack.js';
import { CHAOS_STAGE } from './recipe.js';
import { awaitsSigterm, processesOfRun } from './processes.js';

const LOOK_MS = 20;
/** For one thing: less than a test has, so that it says what it has waited for. */
const WAIT_MS = 0.8 * TEST_MS;

/** A job of the run, at the backend. */
export interface ChaosJob {
  readonly name: string;
  readonly epoch: Epoch;
}

/** A run under chaos. */
export class ChaosRun {
  readonly runUrl: string;
  readonly stageUrl: string;
  readonly urls: ReturnType<typeof stageLayout>;

  constructor(
    private readonly stack: ChaosStack,
    readonly name: string,
    stage: string = CHAOS_STAGE,
  ) {
    this.runUrl = rootLayout(stack.live.config.s3.rootUrl).run(name);
    this.stageUrl = runLayout(this.runUrl).stage(stage);
    this.urls = stageLayout(this.stageUrl);
  }

  get handle() {
    return this.stack.live.client.workflow.getHandle(this.name);
  }

  async start(recipe: unknown): Promise<void> {
    const { client } = this.stack.live;
    await client.workflow.start(WORKFLOWS.recipe.name, {
      workflowId: this.name,
      taskQueue: TASK_QUEUE,
      args: [recipe],
    });
  }

  /** Waits until the run is over. @throws WorkflowFailedError when it failed, and when it takes longer than anything may. */
  async completed(): Promise<void> {
    const result = this.handle.result().then(() => true as const);
    // Whoever waits hears of a failure at its next look.
    result.catch(() => undefined);
    await this.until('its end', () => Promise.race([result, sleep(LOOK_MS, null)]));
  }

  /** Waits until the run has failed, and returns the messages of the failure and its causes. */
  async failed(): Promise<string> {
    const error: unknown = await this.handle.result().catch((reason: unknown) => reason);
    if (!(error instanceof WorkflowFailedError)) throw new Error(`${this.name} did not fail`);
    return messagesOf(error);
  }

  async status(): Promise<RunStatus> {
    return ask(this.handle, QUERIES.status);
  }

  /** Waits until `check` holds. @throws Error that says `what` was waited for, and how the run stands, when that never comes. */
  async until<T>(what: string, check: () => Promise<T | null>): Promise<T> {
    const end = performance.now() + WAIT_MS;
    while (performance.now() < end) {
      const found = await check();
      if (found !== null) return found;
      await sleep(LOOK_MS);
    }
    throw await this.#waitedFor(what);
  }

  /** Everything that tells why something never came. */
  async #waitedFor(what: string): Promise<Error> {
    const known = await Promise.all([
      this.status().catch(String),
      this.stack.live.store.findJson(this.urls.head, headSchema).catch(String),
      this.endings().catch(String),
    ]);
    const [status, head, endings] = known.map((one) => JSON.stringify(one, null, 2));
    const processes = processesOfRun(this.runUrl).map(({ pid, command }) => `${pid} ${command}`);
    return new Error(
      [
        `${this.name}: waited ${WAIT_MS / 60_000} minutes for ${what}`,
        `status: ${status}`,
        `HEAD: ${head}`,
        `ended attempts: ${endings}`,
        `processes: ${processes.join('\n') || 'none'}`,
      ].join('\n'),
    );
  }

  /** `HEAD` of the stage once there is one. */
  head(): Promise<Head> {
    return this.until(
      'a HEAD',
      async () => (await this.stack.live.store.findJson(this.urls.head, headSchema))?.value ?? null,
    );
  }

  /** Waits until the stage has committed this step or a later one. */
  committed(step: number): Promise<Head> {
    return this.until(`the commit of step ${step}`, async () => {
      const head = await this.head();
      return (head.commit?.step ?? 0) >= step ? head : null;
    });
  }

  /** The job that runs now, once one does; of an epoch later than `after`. */
  job(after = 0): Promise<ChaosJob> {
    return this.until(`a job of an attempt after ${after}`, async () => {
      const { epoch } = await this.head();
      if (epoch <= after) return null;
      const name = jobName(this.name, CHAOS_STAGE, epoch);
      const { state } = await this.stack.backend.observe(name);
      return state === 'running' ? { name, epoch } : null;
    });
  }

  /**
   * Lets the job get no further than to this commit, until the returned function is called: what strikes it then finds it at
   * work, however late that comes on a busy machine.
   */
  holdAfter(step: number): () => void {
    const files = new RegExp(`/${this.name}/stages/[^/]+/checkpoints/0*(\\d+)-`);
    return this.stack.disturbStore(({ method, path }) => {
      const of = files.exec(path)?.[1];
      return method === 'PUT' && of !== undefined && Number(of) > step ? 'hang' : 'pass';
    });
  }

  /** Stops the job where it is, does something that makes its watcher send it a SIGTERM, and lets it go on with that. */
  async toldToStop(job: ChaosJob, order: () => Promise<unknown>): Promise<void> {
    await this.stack.backend.signal(job.name, 'SIGSTOP');
    await order();
    await this.until('a SIGTERM for its job', async () => {
      await sleep(LOOK_MS);
      return processesOfRun(this.runUrl).some(({ pid }) => awaitsSigterm(pid)) || null;
    });
    await this.stack.backend.signal(job.name, 'SIGCONT');
  }

  /** The outcome an attempt left, once it has. */
  outcome(epoch: Epoch): Promise<Outcome> {
    return this.until(`the outcome of attempt ${epoch}`, () =>
      readOutcome(this.stack.live.store, this.stageUrl, epoch),
    );
  }

  /** What an attempt has reported so far. */
  async events(epoch: Epoch): Promise<JobEvent[]> {
    const files = await readEventFiles(this.stack.live.store, this.stageUrl, epoch);
    return files.flatMap(({ events }) => events);
  }

  /** How the attempts ended, by the ledger: a failure class or `done`, oldest first. */
  async endings(): Promise<string[]> {
    const { links } = checkChain(await readChain(this.stack.live.store, this.urls.ledger));
    return links.flatMap(({ record }) =>
      record?.entry.type === 'attempt-ended' ? [record.entry.class] : [],
    );
  }

  /** What the ledger notes about the attempts beside their class, oldest first. */
  async notes(): Promise<string[]> {
    const { links } = checkChain(await readChain(this.stack.live.store, this.urls.ledger));
    return links.flatMap(({ record }) => (record?.entry.type === 'attempt-ended' ? [record.entry.note] : []));
  }

  /** Epochs that left something in the store. */
  async epochs(): Promise<number[]> {
    return (await this.stack.live.store.folders(this.urls.attempts)).map(Number).sort((a, b) => a - b);
  }

  /** The job and its shim are gone at once, as when a node is lost. False: it had ended before. */
  async vanish(job: ChaosJob): Promise<boolean> {
    const { shim } = await this.identitiesOf(job);
    if ((await this.stack.backend.observe(job.name)).state !== 'running') return false;
    process.kill(shim.pid, 'SIGKILL');
    return this.stack.backend.signal(job.name, 'SIGKILL');
  }

  /** The backend loses sight of a job that goes on: as a node that was cut off, or a machine that was paused. */
  async loseSightOf(job: ChaosJob): Promise<void> {
    const started = await this.identitiesOf(job);
    const gone = { startTicks: '0' };
    process.kill(started.shim.pid, 'SIGKILL');
    await writeFile(
      this.startedFile(job),
      JSON.stringify({ ...started, shim: { ...started.shim, ...gone }, job: { ...started.job, ...gone } }),
    );
  }

  private startedFile({ name }: ChaosJob): string {
    return join(this.stack.live.config.dataDir, 'jobs', name, 'started.json');
  }

  private async identitiesOf(job: ChaosJob) {
    return z
      .looseObject({ shim: z.looseObject({ pid: z.int() }), job: z.looseObject({}) })
      .parse(JSON.parse(await readFile(this.startedFile(job), 'utf8')));
  }

  /**
   * What is not as it should be at the end of a run: bits that differ from the undisturbed run's, samples lost or repeated, a
   * ledger that does not verify, processes and uploads left behind. Empty: nothing.
   */
  async flaws(): Promise<string[]> {
    const { live, reference } = this.stack;
    const evidence = await readEvidence(live.store, this.runUrl);
    const flaws = compareRuns(reference, evidence)
      .filter(({ passed }) => !passed)
      .map(({ stage, what, found }) => `${stage ?? 'run'}: ${what}: ${found}`);
    flaws.push(...(await ledgerProblems(live.store, this.runUrl, evidence)));
    for await (const { url } of pendingUploads(live.store, this.runUrl)) flaws.push(`upload left: ${url}`);
    for (const { pid, command } of processesOfRun(this.runUrl)) flaws.push(`process left: ${pid} ${command}`);
    return flaws;
  }
}

/** Messages of an error and its causes. */
export function messagesOf(error: Error): string {
  return error.cause instanceof Error ? `${error.message}\n${messagesOf(error.cause)}` : error.message;
}
