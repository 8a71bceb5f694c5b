import { CancelledFailure, Context } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AttemptJob } from '../../activities/attempt/job.js';
import { ProgressReporter } from '../../activities/attempt/progress.js';
import type { Backend, JobObservation, Submission } from '../../src/backends/backend.js';
import { epochSchema } from '../../src/contracts/index.js';
import { ProgressTracker } from '../../src/domain/run/progress.js';
import type { ObjectStore } from '../../src/store/index.js';
import { startFaultyProxy } from '../support/faulty-proxy.js';
import type { FaultyProxy } from '../support/faulty-proxy.js';
import { attemptInput } from './attempt-support.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
let proxy: FaultyProxy;
let store: ObjectStore;
/** Reads of events that nobody answers. */
let held = 0;
let job: FakeJob;
let environment: MockActivityEnvironment;

/** A job that runs until it is told to end. */
class FakeJob implements Backend {
  observation: JobObservation = { state: 'running', startedAt: '2026-01-01T00:00:00.000Z' };
  looks = 0;

  submission: Submission = 'started';
  submissions = 0;

  logs = () => Promise.resolve([]);
  list = () => Promise.resolve([]);
  labels = () => Promise.resolve({});

  submit(): Promise<Submission> {
    this.submissions += 1;
    return Promise.resolve(this.submission);
  }

  observe(): Promise<JobObservation> {
    this.looks += 1;
    return Promise.resolve(this.observation);
  }

  terminate(): Promise<void> {
    this.end();
    return Promise.resolve();
  }

  end(): void {
    this.observation = { state: 'ended', exitCode: 0, endedAt: '2026-01-01T00:00:01.000Z' };
  }
}

beforeEach(async () => {
  held = 0;
  let silent = true;
  proxy = await startFaultyProxy(server.current.endpoint, ({ path }) => {
    if (!silent || !path.includes('/events/')) return 'pass';
    silent = false;
    held += 1;
    return 'hang';
  });
  store = server.current.connect({ endpoint: proxy.endpoint, maxAttempts: 1 });
  job = new FakeJob();
  environment = new MockActivityEnvironment();
});

afterEach(async () => {
  await proxy.stop();
  store.close();
});

/** Watches the job as an activity does. */
function watch() {
  return environment.run(async () => {
    const context = Context.current();
    const jobs = { command: ['true'], environment: {}, onShutdown: 'stop', codeDigest: '' } as const;
    const reporter = new ProgressReporter(context, new ProgressTracker(1, null));
    const input = attemptInput(freshPrefix(), 'r');
    const deps = { store, backend: job, jobs };
    return new AttemptJob(deps, context, input, epochSchema.parse(1), reporter).untilEnded(
      (fate) => new CancelledFailure(fate.why),
    );
  });
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(10);
}

describe('a job for which there is no place', () => {
  /** Its activity, before there is a job. */
  function queue() {
    job.observation = { state: 'absent' };
    job.submission = 'full';
    return environment.run(async () => {
      const jobs = { command: ['true'], environment: {}, onShutdown: 'stop', codeDigest: '' } as const;
      const context = Context.current();
      const reporter = new ProgressReporter(context, new ProgressTracker(1, null));
      const deps = { store, backend: job, jobs };
      const epoch = epochSchema.parse(1);
      await new AttemptJob(deps, context, attemptInput(freshPrefix(), 'r'), epoch, reporter).submit();
      return reporter.tracker.progress.phase;
    });
  }

  it('waits as queued until there is one', async () => {
    const queued = queue();
    await until(() => job.submissions > 2);
    job.submission = 'started';
    expect(await queued).toBe('queued');
  });

  it('waits no longer than its worker does', async () => {
    const queued = queue().catch((error: unknown) => error);
    await until(() => job.submissions > 0);
    environment.cancel();
    expect(await queued).toMatchObject({
      message: expect.stringMatching(/queued|cancelled before/) as string,
    });
  });
});

describe('tries before this one that were lost', () => {
  /** The last of what the heartbeats have told. */
  let told: unknown;

  beforeEach(() => {
    told = undefined;
    environment = new MockActivityEnvironment({ attempt: 6, heartbeatDetails: { lostTries: 5 } });
    environment.on('heartbeat', (details: unknown) => (told = details));
  });

  it('count no more once the job is seen to run', async () => {
    const watched = watch();
    await until(() => told !== undefined);
    expect(told).toMatchObject({ epoch: 1 });
    expect(told).not.toHaveProperty('lostTries');
    job.end();
    await watched;
  });

  it('count on where it has ended: then there is nothing to watch', async () => {
    job.end();
    await watch();
    expect(told).toBeUndefined();
    await environment.run(() => {
      new ProgressReporter(Context.current(), new ProgressTracker(1, null)).take({
        type: 'phase',
        phase: 'save',
      });
      return Promise.resolve();
    });
    expect(told).toMatchObject({ lostTries: 5 });
  });
});

describe('while the store does not answer a read', () => {
  it('the backend is asked on, and the job’s end is noticed', async () => {
    const watched = watch();
    await until(() => held === 1);
    const before = job.looks;
    await until(() => job.looks > before + 5);
    job.end();
    const after = job.looks;
    await until(() => job.looks > after);
    proxy.dropHeld();
    expect(await watched).toMatchObject({ ended: { state: 'ended', exitCode: 0 }, stop: null });
  });

  it('a job that is to stop is stopped', async () => {
    const watched = watch();
    await until(() => held === 1);
    environment.cancel();
    await until(() => job.observation.state === 'ended');
    proxy.dropHeld();
    expect(await watched).toMatchObject({ stop: { kind: 'stop' } });
  });
});
