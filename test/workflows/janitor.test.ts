import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createJanitorActivities } from '../../activities/janitor/index.js';
import { LocalBackend } from '../../src/backends/local/local.js';
import { attemptSchema } from '../../src/contracts/index.js';
import type { Epoch } from '../../src/contracts/index.js';
import { JANITOR_EVERY_SECONDS, JANITOR_ID } from '../../src/domain/run/janitor.js';
import type { JanitorReport } from '../../src/domain/run/janitor.js';
import { encodeLabels } from '../../src/domain/attempt/labels.js';
import { EMPTY_CHAIN, checkChain } from '../../src/domain/ledger/chain.js';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import { STAGE_WORKFLOWS, WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { ensureJanitor } from '../../src/temporal/janitor-schedule.js';
import { parseUrl, rootLayout, runLayout, stageLayout } from '../../src/contracts/layout.js';
import {
  appendRecord,
  createEmptyHead,
  openAttempt,
  readChain,
  readLease,
  renewLease,
  sha256,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { janitor } from '../../workflows/janitor.js';
import { freshPrefix, useS3Server } from '../store/support.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

const server = useS3Server();
let environment: TestWorkflowEnvironment;
let store: ObjectStore;
let folder: string;
let backend: LocalBackend;

beforeAll(async () => {
  environment = await startServer();
  store = server.current.connect();
}, 120_000);

afterAll(async () => {
  await environment.teardown();
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-janitor-'));
  backend = new LocalBackend(join(folder, 'jobs'));
});

afterEach(async () => {
  for (const name of await backend.list()) await backend.terminate(name, 0);
  for (const name of await backend.list()) while (await isRunning(name)) await sleep(20);
  await rm(folder, { recursive: true, force: true });
});

const isRunning = async (name: string) => (await backend.observe(name)).state === 'running';

/** A stage with an open workflow that no worker works on, an attempt, and the attempt's job as a real process. */
class Stage {
  readonly run = `r-${randomUUID().slice(0, 8)}`;
  readonly workflowId = `${this.run}/04-stage-1`;
  readonly stageUrl = `${freshPrefix()}/runs/${this.run}/stages/04-stage-1`;
  job = '';

  async begin({ namespace = 'default' }: { readonly namespace?: string } = {}): Promise<this> {
    await environment.client.workflow.start(STAGE_WORKFLOWS.training, {
      taskQueue: 'nobody-works-here',
      workflowId: this.workflowId,
      args: [],
    });
    await createEmptyHead(store, this.stageUrl);
    const { epoch } = await this.claim('first');
    this.job = `${this.run}.04-stage-1.0001`;
    await appendRecord(store, stageLayout(this.stageUrl).ledger, {
      id: 'first#opened',
      after: EMPTY_CHAIN,
      entry: { type: 'attempt-opened', epoch, job: this.job, from: null, previousOwner: '', why: 'a test' },
    });
    // Ends on SIGTERM after a moment, as a job does that saves.
    const code =
      'process.on("SIGTERM", () => setTimeout(() => process.exit(75), 300)); setInterval(() => {}, 1e3)';
    await backend.submit({
      name: this.job,
      command: [process.execPath, '-e', code],
      environment: {},
      graceSeconds: 5,
      labels: encodeLabels({
        namespace,
        workflowId: this.workflowId,
        run: this.run,
        folder: '04-stage-1',
        stageUrl: this.stageUrl,
        epoch,
        graceSeconds: 5,
      }),
    });
    return this;
  }

  async claim(owner: string): Promise<{ readonly epoch: Epoch }> {
    const { epoch } = await openAttempt(store, { stageUrl: this.stageUrl, owner });
    await store.putJson(stageLayout(this.stageUrl).attemptFile(epoch), attemptSchema, {
      schema: 'longhaul.attempt/1',
      epoch,
      owner,
      startedFrom: null,
      skipSteps: [],
      meanSecondsBetweenInterruptions: null,
      createdAt: new Date().toISOString(),
    });
    return { epoch };
  }

  async close(): Promise<void> {
    await environment.client.workflow.getHandle(this.workflowId).terminate('a test');
  }

  async ends() {
    const { links, problems } = checkChain(await readChain(store, stageLayout(this.stageUrl).ledger));
    expect(problems).toEqual([]);
    return links.flatMap(({ record }) => (record?.entry.type === 'attempt-ended' ? [record.entry] : []));
  }

  /** Begins a multipart upload that nobody will finish. */
  async upload(): Promise<string> {
    const url = `${this.stageUrl}/checkpoints/00000001-0001-01234567/model.safetensors`;
    const { bucket, key } = parseUrl(url);
    await store.client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }));
    return url;
  }
}

/** A pass of the janitor, by a worker that has just come up. */
async function pass(rootUrl = freshPrefix(), activities = worker(rootUrl)): Promise<JanitorReport> {
  return withWorker(environment, activities, () =>
    environment.client.workflow.execute(janitor, {
      taskQueue: TASK_QUEUE,
      workflowId: `janitor-${randomUUID()}`,
      args: [{ minUploadAgeSeconds: 0 }],
    }),
  );
}

const worker = (rootUrl: string) => createJanitorActivities({ store, backend, rootUrl });

describe('a job whose workflow was terminated while no worker was up', () => {
  it('is gone after the next pass, with its grace, and the stage’s ledger says why', async () => {
    const stage = await new Stage().begin();
    await stage.close();
    expect(await isRunning(stage.job)).toBe(true);
    const { orphans } = await pass();
    expect(orphans).toContainEqual({
      job: stage.job,
      why: `its workflow ${stage.workflowId} is closed (terminated)`,
      recorded: true,
    });
    expect(await backend.observe(stage.job)).toMatchObject({ state: 'ended', exitCode: 75 });
    expect(await stage.ends()).toMatchObject([
      { epoch: 1, class: 'cancelled', note: expect.stringContaining('recorded by the janitor') as string },
    ]);
  });

  it('is recorded once, however often the janitor comes', async () => {
    const stage = await new Stage().begin();
    await stage.close();
    await pass();
    expect((await pass()).orphans).toEqual([]);
    expect(await stage.ends()).toHaveLength(1);
  });

  it('is recorded also when it ended by itself: by its lease, or with its machine', async () => {
    const stage = await new Stage().begin();
    await backend.terminate(stage.job, 0);
    while (await isRunning(stage.job)) await sleep(20);
    await stage.close();
    expect((await pass()).orphans).toMatchObject([{ job: stage.job, recorded: true }]);
    expect(await stage.ends()).toMatchObject([{ epoch: 1, class: 'unknown' }]);
  });
});

/** The lease of an attempt, as it is when nobody renews it any more. */
async function leaseRunsOut(stageUrl: string, epoch: Epoch): Promise<void> {
  await renewLease(store, stageUrl, epoch, 0);
  while ((await readLease(store, stageUrl))?.isLive === true) await sleep(100);
}

describe('a job that somebody answers for is left alone', () => {
  it('while its workflow is open', async () => {
    const stage = await new Stage().begin();
    expect((await pass()).orphans).toEqual([]);
    expect(await isRunning(stage.job)).toBe(true);
    await stage.close();
  });

  it('while its lease is renewed, although this server knows no such workflow', async () => {
    const stage = await new Stage().begin();
    const { epoch } = await stage.claim('first');
    await renewLease(store, stage.stageUrl, epoch, 60);
    const elsewhere = `elsewhere-${stage.job}`;
    await backend.submit({
      name: elsewhere,
      command: [process.execPath, '-e', 'setInterval(() => {}, 1e3)'],
      environment: {},
      graceSeconds: 1,
      labels: encodeLabels({
        namespace: 'default',
        workflowId: 'nobody-knows',
        run: stage.run,
        folder: '04-stage-1',
        stageUrl: stage.stageUrl,
        epoch,
        graceSeconds: 1,
      }),
    });
    expect((await pass()).orphans).toEqual([]);
    await leaseRunsOut(stage.stageUrl, epoch);
    expect((await pass()).orphans).toMatchObject([{ job: elsewhere }]);
    await stage.close();
  });

  it('when it is another namespace’s', async () => {
    const stage = await new Stage().begin({ namespace: 'another' });
    await stage.close();
    expect((await pass()).orphans).toEqual([]);
    expect(await isRunning(stage.job)).toBe(true);
  });
});

describe('a job that another attempt of its stage has superseded', () => {
  it('is stopped although the workflow is open: it could only be a zombie', async () => {
    const stage = await new Stage().begin();
    await stage.claim('second');
    expect((await pass()).orphans).toEqual([
      { job: stage.job, why: 'attempt 2 of its stage has taken over', recorded: true },
    ]);
    expect(await isRunning(stage.job)).toBe(false);
    await stage.close();
  });
});

/** A run that no worker works on, with an empty ledger, and what its opening says but for the workflow run. */
async function idleRun() {
  const run = `r-${randomUUID().slice(0, 8)}`;
  const root = freshPrefix();
  const taskQueue = 'nobody-works-here';
  const handle = await environment.client.workflow.start(WORKFLOWS.recipe.name, {
    taskQueue,
    workflowId: run,
    args: [],
  });
  const opened = { run, recipeDigest: sha256('recipe'), namespace: 'default', workflowId: run };
  return { run, root, chain: runLayout(rootLayout(root).run(run)).ledger, handle, opened };
}

/** Appends records to an empty chain. */
async function tell(chain: string, entries: readonly LedgerEntry[]): Promise<void> {
  for (const [index, entry] of entries.entries())
    await appendRecord(store, chain, { id: `told#${index}`, after: EMPTY_CHAIN, entry });
}

describe('a run that was terminated', () => {
  it('has its end in its ledger, with who ended it and why, once', async () => {
    const { run, root, chain, handle, opened } = await idleRun();
    await tell(chain, [{ type: 'run-opened', ...opened, runId: handle.firstExecutionRunId }]);
    expect((await pass(root)).runs).toEqual([]);
    await handle.terminate('the budget is spent');
    expect((await pass(root)).runs).toEqual([run]);
    expect((await pass(root)).runs).toEqual([]);
    const { links, problems } = checkChain(await readChain(store, chain));
    expect(problems).toEqual([]);
    expect(links.map(({ record }) => record?.entry.type)).toEqual(['run-opened', 'run-ended']);
    expect(links.at(-1)?.record?.entry).toMatchObject({
      state: 'terminated',
      why: expect.stringMatching(/^terminated by .* with the reason "the budget is spent"/) as string,
    });
  });

  it('has its end there too when it had gone on from a reset', async () => {
    const { run, root, chain, handle, opened } = await idleRun();
    const { firstExecutionRunId: runId } = handle;
    const told: LedgerEntry[] = [
      { type: 'run-opened', ...opened, runId: 'the run before' },
      { type: 'run-reset', runId, remembers: 1, why: 'a test' },
    ];
    await tell(chain, told);
    await handle.terminate();
    expect((await pass(root)).runs).toEqual([run]);
  });

  it('has the chain of the stage that was under way sealed, and no other', async () => {
    const { run, root, chain, handle, opened } = await idleRun();
    const stageUrl = runLayout(rootLayout(root).run(run)).stage('02-stage-1');
    const stage = (folder: string) => ({ folder, kind: 'training', title: folder }) as const;
    const finished = { result: 'done', why: '', chain: null } as const;
    const told: LedgerEntry[] = [
      { type: 'run-opened', ...opened, runId: handle.firstExecutionRunId },
      { type: 'stage-started', ...stage('01-curation') },
      { type: 'stage-ended', folder: '01-curation', ...finished, artifacts: [] },
      { type: 'stage-started', ...stage('02-stage-1') },
    ];
    await tell(chain, told);
    const { index: records, digest: tip } = await appendRecord(store, stageLayout(stageUrl).ledger, {
      id: 'first#opened',
      after: EMPTY_CHAIN,
      entry: { type: 'attempt-opened', epoch: 1, job: 'j', from: null, previousOwner: '', why: 'a test' },
    });
    await handle.terminate();
    await pass(root);
    const { links, problems } = checkChain(await readChain(store, chain));
    expect(problems).toEqual([]);
    const added = links.slice(told.length).map(({ record }) => record?.entry);
    expect(added).toMatchObject([
      { type: 'stage-ended', folder: '02-stage-1', result: 'cancelled', chain: { records, tip } },
      { type: 'run-ended', state: 'terminated' },
    ]);
  });

  it.each(['failed', 'cancelled'] as const)('or %s while the store took no records, too', async (how) => {
    const run = `r-${randomUUID().slice(0, 8)}`;
    const root = freshPrefix();
    const chain = runLayout(rootLayout(root).run(run)).ledger;
    await withWorker(environment, worker(root), async () => {
      const handle = await environment.client.workflow.start(WORKFLOWS.recipe.name, {
        taskQueue: TASK_QUEUE,
        workflowId: run,
        args: how === 'failed' ? ['no recipe'] : [],
      });
      const { firstExecutionRunId: runId } = handle;
      const opened = { run, recipeDigest: sha256('recipe'), namespace: 'default', workflowId: run, runId };
      await tell(chain, [{ type: 'run-opened', ...opened }]);
      if (how === 'cancelled') await handle.cancel();
      await handle.result().catch(() => undefined);
    });
    expect((await pass(root)).runs).toEqual([run]);
    expect((await pass(root)).runs).toEqual([]);
    const { links, problems } = checkChain(await readChain(store, chain));
    expect(problems).toEqual([]);
    expect(links.at(-1)?.record?.entry).toMatchObject({
      type: 'run-ended',
      state: how,
      why: expect.stringContaining('recorded by the janitor') as string,
    });
  });

  it('goes on where it was started again: that is for the new one to tell', async () => {
    const run = `r-${randomUUID().slice(0, 8)}`;
    const root = freshPrefix();
    const start = () =>
      environment.client.workflow.start(WORKFLOWS.recipe.name, {
        taskQueue: 'nobody-works-here',
        workflowId: run,
        args: [],
      });
    const { firstExecutionRunId: runId } = await start();
    await appendRecord(store, `${root}/runs/${run}/ledger`, {
      id: 'opened',
      after: EMPTY_CHAIN,
      entry: {
        type: 'run-opened',
        run,
        recipeDigest: sha256('recipe'),
        namespace: 'default',
        workflowId: run,
        runId,
      },
    });
    await environment.client.workflow.getHandle(run).terminate();
    const second = await start();
    expect((await pass(root)).runs).toEqual([]);
    await second.terminate();
  });
});

describe('multipart uploads that nobody will finish', () => {
  it('are aborted below stages without a live attempt, and nowhere else', async () => {
    const [dead, live] = [await new Stage().begin(), await new Stage().begin()];
    const [lost, underWay] = [await dead.upload(), await live.upload()];
    await dead.close();
    expect((await pass()).uploads).toEqual([lost]);
    await live.close();
    expect((await pass()).uploads).toEqual([underWay]);
  });

  it('are left alone while a lease says that somebody somewhere works on the stage', async () => {
    const stage = await new Stage().begin();
    const url = await stage.upload();
    await renewLease(store, stage.stageUrl, (await stage.claim('first')).epoch, 60);
    await stage.close();
    const root = stage.stageUrl.replace(/\/runs\/.*/, '');
    expect((await pass(root)).uploads).toEqual([]);
    await leaseRunsOut(stage.stageUrl, (await stage.claim('first')).epoch);
    expect((await pass(root)).uploads).toEqual([url]);
  });
});

describe('the janitor’s schedule', () => {
  it('is there after any number of workers have started, and stays paused when an operator paused it', async () => {
    const { namespace = 'default' } = environment;
    const ensure = () => ensureJanitor(environment.connection, namespace);
    await Promise.all([ensure(), ensure(), ensure()]);
    const handle = environment.client.schedule.getHandle(JANITOR_ID);
    await handle.pause('a test');
    await ensure();
    const { spec, state } = await handle.describe();
    expect(spec.intervals).toMatchObject([{ every: JANITOR_EVERY_SECONDS * 1000 }]);
    expect(state.paused).toBe(true);
    await handle.delete();
  });

  it('brings the janitor at once when a worker comes up', async () => {
    const stage = await new Stage().begin();
    await stage.close();
    await withWorker(environment, worker(freshPrefix()), async () => {
      await ensureJanitor(environment.connection, 'default');
      while ((await stage.ends()).length === 0) await sleep(100);
    });
    await environment.client.schedule.getHandle(JANITOR_ID).delete();
    expect(await isRunning(stage.job)).toBe(false);
  });
});
