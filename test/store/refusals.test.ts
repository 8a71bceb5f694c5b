import { ApplicationFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAttemptActivities } from '../../activities/attempt/index.js';
import type { RunAttemptInput } from '../../activities/attempt/types.js';
import { createRopeBumpActivities } from '../../activities/rope-bump.js';
import type { Backend, JobObservation, Submission } from '../../src/backends/backend.js';
import { epochSchema } from '../../src/contracts/index.js';
import type { HeadCommit } from '../../src/contracts/index.js';
import { checkChain } from '../../src/domain/ledger/chain.js';
import { ropeBump } from '../../src/domain/walk/rope.js';
import { stageLayout } from '../../src/contracts/layout.js';
import {
  createEmptyHead,
  digestTree,
  encodeJson,
  isStoreError,
  readChain,
  readLease,
  renewLease,
  sha256,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { startFaultyProxy } from '../support/faulty-proxy.js';
import type { Fault, FaultyProxy } from '../support/faulty-proxy.js';
import endedJson from '../../src/contracts/fixtures/valid/outcome/ended.json' with { type: 'json' };
import { attemptInput } from './attempt-support.js';
import { claim, commitCheckpoint, freshPrefix, useS3Server } from './support.js';

/** A try early enough for its trouble to be of the moment, and one by which it has lasted. */
const FIRST_TRY = 1;
const LATE_TRY = 20;

const server = useS3Server();
let store: ObjectStore;
let input: RunAttemptInput;
let backend: RunningJob;
let proxy: FaultyProxy | null = null;

/** A job that runs until it is told to end. */
class RunningJob implements Backend {
  #observation: JobObservation = { state: 'running', startedAt: '2026-01-01T00:00:00.000Z' };
  stopped: { readonly graceSeconds: number } | null = null;

  submit: () => Promise<Submission> = () => Promise.resolve('started');
  logs = () => Promise.resolve([]);
  list = () => Promise.resolve([]);
  labels = () => Promise.resolve({});
  observe = () => Promise.resolve(this.#observation);

  terminate(_name: string, graceSeconds: number): Promise<void> {
    this.stopped = { graceSeconds };
    this.#observation = { state: 'ended', exitCode: 0, endedAt: '2026-01-01T00:00:01.000Z' };
    return Promise.resolve();
  }
}

beforeEach(() => {
  store = server.current.connect();
  input = attemptInput(freshPrefix(), 'r');
  backend = new RunningJob();
});

afterEach(async () => {
  await proxy?.stop();
  proxy = null;
});

/** What the attempt's activity throws in its nth try. */
function thrown(attempt: number, by: ObjectStore = store): Promise<unknown> {
  const jobs = { command: ['true'], environment: {}, onShutdown: 'stop', codeDigest: '' } as const;
  const activities = createAttemptActivities({ store: by, backend, jobs });
  return outcomeOf(attempt, () => activities.runAttempt(input));
}

function outcomeOf(attempt: number, activity: () => Promise<unknown>): Promise<unknown> {
  return new MockActivityEnvironment({ attempt }).run(activity).catch((error: unknown) => error);
}

/** A store whose every answer is this one. */
async function storeThat(fault: Fault): Promise<ObjectStore> {
  proxy = await startFaultyProxy(server.current.endpoint, () => fault);
  return server.current.connect({ endpoint: proxy.endpoint, maxAttempts: 1 });
}

function refusal(error: unknown): ApplicationFailure {
  if (!(error instanceof ApplicationFailure)) throw new Error(`not refused: ${String(error)}`);
  expect(error.nonRetryable).toBe(true);
  return error;
}

describe('what waiting does not change is a failure of its class, that says what can be done', () => {
  it('a HEAD that is gone although there are checkpoints', async () => {
    const { stageUrl } = input.spec;
    await createEmptyHead(store, stageUrl);
    await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 1);
    await store.delete([stageLayout(stageUrl).head]);
    const { type, message } = refusal(await thrown(FIRST_TRY));
    expect(type).toBe('checkpoint');
    expect(message).toMatch(/\/HEAD: HEAD is missing.*What can be done: put the object back/);
  });

  it('a HEAD that breaks its contract', async () => {
    await store.put(stageLayout(input.spec.stageUrl).head, Buffer.from('{"schema":"longhaul.head/1"}'));
    const { type, message } = refusal(await thrown(FIRST_TRY));
    expect(type).toBe('checkpoint');
    expect(message).toMatch(/\/HEAD: is invalid: .*epoch/);
  });

  it('credentials that the store refuses, once that has lasted', async () => {
    const denied = await storeThat(403);
    expect(isStoreError(await thrown(FIRST_TRY, denied), 'access-denied')).toBe(true);
    const { type, message } = refusal(await thrown(LATE_TRY, denied));
    expect(type).toBe('store');
    expect(message).toMatch(/the store answered 403 .*What can be done: give workers and jobs credentials/);
  });

  it('a mistake in the program, once it has lasted', async () => {
    expect(await thrownByBrokenBackend(FIRST_TRY)).toBeInstanceOf(TypeError);
    const { type, message } = refusal(await thrownByBrokenBackend(LATE_TRY));
    expect(type).toBe('unknown');
    expect(message).toMatch(/TypeError: no such method.*mend or replace the worker/);
  });

  it('in the other activities too: a config that is not what its digest says', async () => {
    const url = `${input.spec.stageUrl}/given/config.json`;
    await store.put(url, Buffer.from('{}'));
    const bump = {
      stageUrl: input.spec.stageUrl,
      config: { url, digest: sha256('another config') },
      bump: ropeBump({
        oldTheta: 1e4,
        newTheta: 8e4,
        oldLengthTokens: 128,
        sequenceLengthTokens: 256,
        headWidth: 16,
      }),
    };
    const { bumpRopeBase } = createRopeBumpActivities({ store });
    const { type } = refusal(await outcomeOf(FIRST_TRY, () => bumpRopeBase(bump)));
    expect(type).toBe('store');
  });
});

describe('what may pass is tried again, however long it takes', () => {
  it.each<Fault>([500, 503, 429, 'reset', 'cut-answer'])('a store that answers with %s', async (fault) => {
    const error = await thrown(LATE_TRY * 1000, await storeThat(fault));
    expect(isStoreError(error, 'unavailable')).toBe(true);
  });

  it('a connection of another library that failed', async () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const failed = new TypeError('fetch failed', { cause });
    backend.submit = () => Promise.reject(failed);
    expect(await thrown(LATE_TRY)).toBe(failed);
  });
});

describe('a stage that parks leaves no job behind', () => {
  it('stops the job that ran, with the grace to save, and its ledger says how the attempt ended', async () => {
    const events = stageLayout(input.spec.stageUrl).eventFile(epochSchema.parse(1), 1);
    backend.submit = async () => {
      await store.put(events, Buffer.from('not JSON'));
      return 'started';
    };
    const { type, message } = refusal(await thrown(FIRST_TRY));
    expect(type).toBe('store');
    expect(message).toContain(`${events}: is not JSON`);
    expect(backend.stopped).toEqual({ graceSeconds: input.graceSeconds });
    const { links } = checkChain(await readChain(store, stageLayout(input.spec.stageUrl).ledger));
    const [opened, ended] = links.map(({ record }) => record?.entry);
    expect(opened).toMatchObject({ type: 'attempt-opened', epoch: 1 });
    expect(ended).toMatchObject({ type: 'attempt-ended', epoch: 1, class: 'store', message });
  });

  it('and leaves nothing without a digest: what it wrote and committed is recorded as of any other attempt', async () => {
    const { stageUrl } = input.spec;
    const epoch = epochSchema.parse(1);
    const layout = stageLayout(stageUrl);
    const outcome = encodeJson({ ...endedJson, epoch });
    const made: HeadCommit[] = [];
    backend.submit = async () => {
      made.push(await commitCheckpoint(store, stageUrl, epoch, 2));
      await store.put(layout.log(epoch), Buffer.from('a log'));
      await store.put(layout.outcome(epoch), outcome);
      await store.put(layout.eventFile(epoch, 1), Buffer.from('not JSON'));
      return 'started';
    };
    refusal(await thrown(FIRST_TRY));
    const { links } = checkChain(await readChain(store, layout.ledger));
    expect(links.at(-1)?.record?.entry).toMatchObject({
      type: 'attempt-ended',
      class: 'store',
      tokens: endedJson.tokens,
      commits: made.map(({ id, step, manifestDigest }) => ({ id, step, manifestDigest })),
      left: {
        outcome: sha256(outcome),
        log: sha256(Buffer.from('a log')),
        events: await digestTree(store, layout.events(epoch)),
        checkpoints: made.map(({ id }) => id),
        quarantined: [],
      },
    });
  });

  it('without what it left, where the store does not tell that', async () => {
    const { stageUrl } = input.spec;
    const epoch = epochSchema.parse(1);
    backend.submit = async () => {
      await store.put(stageLayout(stageUrl).head, Buffer.from('not JSON either'));
      await store.put(stageLayout(stageUrl).eventFile(epoch, 1), Buffer.from('not JSON'));
      return 'started';
    };
    const { message } = refusal(await thrown(FIRST_TRY));
    const { links } = checkChain(await readChain(store, stageLayout(stageUrl).ledger));
    const entry = links.at(-1)?.record?.entry;
    expect(entry).toMatchObject({ type: 'attempt-ended', class: 'store', message, commits: [] });
    expect(entry).not.toHaveProperty('left');
  });

  it('but one that is tried again leaves it to the next try', async () => {
    await thrownByBrokenBackend(FIRST_TRY);
    expect(backend.stopped).toBeNull();
  });
});

describe('a job that another worker’s backend runs is not started here as well', () => {
  const EVENTS = () => stageLayout(input.spec.stageUrl).eventFile(epochSchema.parse(1), 1);
  let submissions = 0;

  beforeEach(async () => {
    submissions = 0;
    // The first try claims attempt 1 and renews its lease; where its job runs, this backend doesn't know.
    await thrownByBrokenBackend(FIRST_TRY);
    backend.observe = () => Promise.resolve({ state: 'absent' });
    backend.submit = () => {
      submissions += 1;
      return Promise.reject(new TypeError('no such method'));
    };
  });

  it('while its lease is live: the try is left to the worker that knows it', async () => {
    await store.put(EVENTS(), Buffer.from('{}'));
    expect(await thrown(FIRST_TRY + 1)).toMatchObject({ type: 'elsewhere', nonRetryable: false });
    expect(submissions).toBe(0);
  });

  it('but is started again once nobody renews its lease', async () => {
    await store.put(EVENTS(), Buffer.from('{}'));
    await renewLease(store, input.spec.stageUrl, epochSchema.parse(1), 0);
    await expect
      .poll(() => readLease(store, input.spec.stageUrl), { timeout: 10_000 })
      .toMatchObject({ isLive: false });
    await thrown(FIRST_TRY + 1);
    expect(submissions).toBe(1);
  });

  it('and at once if it has never told of itself', async () => {
    await thrown(FIRST_TRY + 1);
    expect(submissions).toBe(1);
  });
});

/** What the activity throws when its backend is not what it is thought to be. */
function thrownByBrokenBackend(attempt: number): Promise<unknown> {
  backend.submit = () => Promise.reject(new TypeError('no such method'));
  return thrown(attempt);
}
