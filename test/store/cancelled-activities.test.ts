import { CancelledFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StageHistory } from '../../activities/attempt/children.js';
import type { AttemptEnd, RunAttemptInput } from '../../activities/attempt/types.js';
import { createActivities } from '../../activities/index.js';
import type { ActivityDependencies } from '../../activities/index.js';
import type { Backend, JobObservation, Submission } from '../../src/backends/backend.js';
import { datasetsOf } from '../../src/domain/walk/datasets.js';
import { digestOf } from '../../src/domain/lib/digest.js';
import { encodeLabels } from '../../src/domain/attempt/labels.js';
import { checkChain } from '../../src/domain/ledger/chain.js';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { parseRecipe } from '../../src/domain/recipe/parse.js';
import { ropeBump } from '../../src/domain/walk/rope.js';
import { digestSchema, epochSchema } from '../../src/contracts/index.js';
import { stageLayout } from '../../src/contracts/layout.js';
import { readChain } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { HOUR_MS, withClockAhead } from '../support/clock.js';
import { startFaultyProxy } from '../support/faulty-proxy.js';
import type { Fault, FaultyProxy } from '../support/faulty-proxy.js';
import { PATIENCE_MS } from '../support/patience.js';
import { runStatus } from '../support/run-status.js';
import { attemptInput } from './attempt-support.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
let proxy: FaultyProxy;
let store: ObjectStore;
/** What the store does to every request. */
let fault: Fault;
let job: FakeJob;
let environment: MockActivityEnvironment;
let input: RunAttemptInput;

/** A job that runs until it is told to end, and before that does not exist. */
class FakeJob implements Backend {
  observation: JobObservation = { state: 'absent' };
  kept: Readonly<Record<string, string>> = {};
  startedAt = '';
  /** How far its machine's clock is ahead of this one's. */
  aheadMs = 0;
  /** Submissions for which there is no place. */
  full = 0;

  logs = () => Promise.resolve([]);
  list = () => Promise.resolve(['the-job']);
  labels = () => Promise.resolve(this.kept);
  observe = () => Promise.resolve(this.observation);

  submit(): Promise<Submission> {
    if (this.full > 0) {
      this.full -= 1;
      return Promise.resolve('full');
    }
    if (this.observation.state === 'absent') {
      this.startedAt = this.#now();
      this.observation = { state: 'running', startedAt: this.startedAt };
    }
    return Promise.resolve('started');
  }

  terminate(): Promise<void> {
    const { startedAt } = this;
    this.observation = { state: 'ended', exitCode: 143, startedAt, endedAt: this.#now() };
    return Promise.resolve();
  }

  #now(): string {
    return new Date(Date.now() + this.aheadMs).toISOString();
  }
}

beforeEach(async () => {
  fault = 'pass';
  proxy = await startFaultyProxy(server.current.endpoint, () => fault);
  store = server.current.connect({ endpoint: proxy.endpoint, maxAttempts: 1 });
  job = new FakeJob();
  environment = new MockActivityEnvironment();
  input = attemptInput(freshPrefix(), 'r');
});

afterEach(async () => {
  proxy.dropHeld();
  await proxy.stop();
  store.close();
});

function activities() {
  const jobs = { command: ['true'], environment: {}, onShutdown: 'stop', codeDigest: '' } as const;
  const deps: ActivityDependencies = {
    store,
    storeSettings: { endpoint: proxy.endpoint, region: 'us-east-1', maxAttempts: 1 },
    backend: job,
    jobs,
    rootUrl: input.rootUrl,
    buckets: [],
    roots: { project: '.', npm: 'node_modules', python: tmpdir(), interpreter: 'python3', allowed: [] },
    modelsFolder: 'models',
    cacheFolder: tmpdir(),
    runUiUrl: (run) => run,
  };
  return createActivities(deps);
}

const attempt = (): Promise<AttemptEnd> => environment.run(() => activities().runAttempt(input));

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10);
}

/** What the stage's ledger says, read past the proxy. */
async function ledger(): Promise<LedgerEntry[]> {
  const direct = server.current.connect();
  const { links } = checkChain(await readChain(direct, stageLayout(input.spec.stageUrl).ledger));
  direct.close();
  return links.flatMap(({ record }) => (record === null ? [] : [record.entry]));
}

/** The attempt's job runs, its ledger says so, and then the store is in trouble. */
async function running(trouble: Fault): Promise<{ readonly attempted: Promise<AttemptEnd> }> {
  const attempted = attempt();
  await until(async () => job.observation.state === 'running' && (await ledger()).length === 1);
  fault = trouble;
  return { attempted };
}

describe('an activity that is cancelled while the store is down ends as cancelled, never as failed', () => {
  const parsed = parseRecipe(TINY_SMOKE);
  if (!parsed.ok) throw new Error('the preset is no recipe');
  const { recipe } = parsed;
  const digest = digestSchema.parse(digestOf(recipe));
  const model = { url: 's3://longhaul-test/model', digest };
  const bump = {
    oldTheta: 1e4,
    newTheta: 8e4,
    oldLengthTokens: 128,
    sequenceLengthTokens: 256,
    headWidth: 16,
  };
  const [dataset] = datasetsOf(recipe);
  if (dataset === undefined) throw new Error('the preset curates nothing');

  type Activities = ReturnType<typeof createActivities>;
  /** Of every activity that a run can cancel: the janitor's belong to no run, records and the stop of jobs are never cancelled, and Temporal alone knows of children. */
  type Cancellable = Exclude<
    keyof Activities,
    | 'stopOrphans'
    | 'recordCutRuns'
    | 'abortStaleUploads'
    | 'appendToLedger'
    | 'recordedActions'
    | 'childState'
    | 'stopStageJobs'
  >;
  const calls: Readonly<Record<Cancellable, () => Promise<unknown>>> = {
    prepareRun: () =>
      activities().prepareRun({ run: 'r', recipe, recipeDigest: digest, namespace: 'n', workflowId: 'r' }),
    curateDataset: () =>
      activities().curateDataset({ dataset, recipe, tokenizer: model, rootUrl: input.rootUrl }),
    bumpRopeBase: () =>
      activities().bumpRopeBase({ stageUrl: input.spec.stageUrl, config: model, bump: ropeBump(bump) }),
    runAttempt: () => activities().runAttempt(input),
    stageHistory: () => activities().stageHistory({ stageUrl: input.spec.stageUrl, after: 0 }),
    readCheckpoints: () => activities().readCheckpoints({ stageUrl: input.spec.stageUrl }),
    writeReport: () =>
      activities().writeReport({
        run: 'r',
        runUrl: `${input.rootUrl}/runs/r`,
        recipe,
        recipeDigest: digest,
        status: runStatus(),
      }),
  };

  describe.each(Object.entries(calls))('%s', (_name, call) => {
    it.each<Fault>([503, 500, 'reset'])('with the store answering %s', async (trouble) => {
      fault = trouble;
      environment.cancel();
      const end: unknown = await environment.run(call).catch((error: unknown) => error);
      expect(end).toBeInstanceOf(CancelledFailure);
      expect(job.observation.state).toBe('absent');
    });
  });
});

describe('an attempt that is cancelled while the store is down stops its job, and waits for the store itself', () => {
  it.each<Fault>([503, 'reset', 'hang'])(
    'for as long as a job has to save, and no longer (%s)',
    async (trouble) => {
      const { attempted } = await running(trouble);
      environment.cancel();
      const end = await attempted;
      expect(end).toMatchObject({ state: 'ended', class: 'cancelled', checkpoints: null, unrecorded: true });
      expect(job.observation.state).toBe('ended');
    },
  );

  it('and tells everything when the store is back in time', async () => {
    input = { ...input, graceSeconds: 60 };
    const { attempted } = await running(503);
    environment.cancel();
    await until(() => job.observation.state === 'ended');
    fault = 'pass';
    const end = await attempted;
    expect(end).toMatchObject({ state: 'ended', class: 'cancelled', checkpoints: [] });
    expect(end).not.toHaveProperty('unrecorded');
    expect((await ledger()).at(-1)).toMatchObject({ type: 'attempt-ended', class: 'cancelled' });
  });

  it('the attempt after it records the end that nobody could record', async () => {
    const { attempted } = await running(503);
    environment.cancel();
    await attempted;
    fault = 'pass';
    environment = new MockActivityEnvironment();
    const before = job.observation;
    input = { ...input, owner: 'owner/2', recordsEnds: true };
    const next = attempt();
    await until(async () => (await ledger()).length === 3);
    environment.cancel();
    await next;
    expect(before.state).toBe('ended');
    const told = (await ledger()).map((entry) => ('epoch' in entry ? [entry.type, entry.epoch] : []));
    expect(told).toEqual([
      ['attempt-opened', 1],
      ['attempt-ended', 1],
      ['attempt-opened', 2],
      ['attempt-ended', 2],
    ]);
  });
});

describe('an attempt that leaves no outcome, on machines whose clocks disagree', () => {
  const [BACK, RIGHT, AHEAD] = [-HOUR_MS, 0, HOUR_MS];

  it.each([
    ['its worker’s is set back', BACK, RIGHT],
    ['its job’s is ahead', RIGHT, AHEAD],
    ['its worker’s is set back and its job’s is ahead', BACK, AHEAD],
    ['its worker’s is ahead', AHEAD, RIGHT],
    ['its job’s is set back', RIGHT, BACK],
    ['its worker’s is ahead and its job’s is set back', AHEAD, BACK],
  ])('took as long as the store saw: by an hour, %s', async (_, workerMs, jobMs) => {
    const CLAIMED_AGO = 1000;
    job.aheadMs = jobMs - workerMs;
    await withClockAhead(workerMs, async () => {
      const { attempted } = await running('pass');
      const { attemptFile } = stageLayout(input.spec.stageUrl);
      const then = (Date.now() - workerMs) / 1000 - CLAIMED_AGO;
      await utimes(server.current.fileOf(attemptFile(epochSchema.parse(1))), then, then);
      environment.cancel();
      await attempted;
    });
    const ended = (await ledger()).at(-1);
    if (ended?.type !== 'attempt-ended') throw new Error('its end is recorded');
    expect(ended.wallSeconds).toBeGreaterThan(CLAIMED_AGO - 60);
    expect(ended.wallSeconds).toBeLessThan(CLAIMED_AGO + PATIENCE_MS / 1000);
    expect(ended.seconds.queued).toBeLessThanOrEqual(ended.wallSeconds);
  });
});

describe('an attempt that has waited for a place', () => {
  it('tells its stage, now and from its ledger, for how long devices were held', async () => {
    job.full = 3;
    const attempted = attempt();
    await until(() => job.observation.state === 'running');
    const { startedAt } = job;
    environment.cancel();
    const end = await attempted;
    if (end.state !== 'ended' || job.observation.state !== 'ended') throw new Error('it was cancelled');
    const held = (Date.parse(job.observation.endedAt) - Date.parse(startedAt)) / 1000;
    expect(end.heldSeconds).toBeCloseTo(held);
    expect(end.wallSeconds).toBeGreaterThan(held + 1);
    environment = new MockActivityEnvironment();
    const { stageUrl } = input.spec;
    const told: Promise<StageHistory> = environment.run(() =>
      activities().stageHistory({ stageUrl, after: 0 }),
    );
    const { ended } = await told;
    expect(ended).toMatchObject([{ wallSeconds: end.wallSeconds, heldSeconds: end.heldSeconds }]);
  });
});

describe('a stage that is not attempted any more leaves no job behind', () => {
  const labelled = (stageUrl: string) =>
    encodeLabels({
      namespace: environment.context.info.namespace,
      workflowId: 'r/02-a',
      run: 'r',
      folder: '02-a',
      stageUrl,
      epoch: 1,
      graceSeconds: 1,
    });

  it('its jobs are stopped although the store is down; those of other stages run on', async () => {
    fault = 503;
    for (const [stageUrl, state] of [
      [`${input.rootUrl}/runs/other/stages/02-a`, 'running'],
      [input.spec.stageUrl, 'ended'],
    ] as const) {
      job.observation = { state: 'running', startedAt: new Date().toISOString() };
      job.kept = labelled(stageUrl);
      const stage = { stageUrl: input.spec.stageUrl, graceSeconds: 1 };
      await environment.run(() => activities().stopStageJobs(stage));
      expect(job.observation.state).toBe(state);
    }
  });
});
