/** What becomes of a run whose ledger the store refuses for good. */
import { WorkflowFailedError } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { abortUpdate, statusQuery } from '../../workflows/messages.js';
import { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

let environment: TestWorkflowEnvironment;

beforeAll(async () => {
  environment = await startServer();
}, 120_000);

afterAll(async () => {
  await environment.teardown();
});

const RECIPE = { ...TINY_SMOKE, execution: { graceSeconds: 1 } };
const who = { actor: 'kim@example.org', reason: 'a test' };
type Run = WorkflowHandle<typeof recipe>;

/** A store that takes no records of some kind. */
class Refusing extends FakeActivities {
  constructor(isRefused: (entry: LedgerEntry) => boolean) {
    super();
    this.beforeRecord = (entry) => (isRefused(entry) ? Promise.reject(denied()) : Promise.resolve());
  }
}

function denied(): ApplicationFailure {
  return ApplicationFailure.create({
    type: 'store',
    nonRetryable: true,
    message: 'the store answered 403 AccessDenied',
  });
}

async function withRun<T>(activities: object, body: (run: Run) => Promise<T>): Promise<T> {
  return withWorker(environment, activities, async () => {
    const run = await environment.client.workflow.start(recipe, {
      taskQueue: TASK_QUEUE,
      workflowId: `r-${randomUUID()}`,
      args: [RECIPE],
    });
    try {
      return await body(run);
    } finally {
      await run.terminate().catch(() => undefined);
    }
  });
}

async function untilWarned(run: Run): Promise<string> {
  for (;;) {
    const { warnings } = await run.query(statusQuery);
    const [first] = warnings;
    if (first !== undefined) return first;
    await sleep(50);
  }
}

const endOf = (run: Run): Promise<unknown> => run.result().catch((error: unknown) => error);

describe('a run whose ledger takes no records says so, and goes on when it does', () => {
  it('shows why it waits, in few events', async () => {
    const fakes = new Refusing(({ type }) => type === 'stage-started');
    await withRun(fakes.activities, async (run) => {
      expect(await untilWarned(run)).toBe(
        'the ledger waits for the store: the store answered 403 AccessDenied',
      );
      expect(fakes.ledger.map(({ type }) => type)).toEqual(['run-opened']);
      const { events } = await run.fetchHistory();
      expect(events?.length).toBeLessThan(40);
    });
  });

  it('is not kept from completing by a store that has come back', async () => {
    let refusals = 0;
    const fakes = new FakeActivities();
    fakes.beforeRecord = ({ type }) => {
      if (type !== 'stage-started' || refusals >= 5) return Promise.resolve();
      refusals += 1;
      return Promise.reject(new Error('not now'));
    };
    await withRun(fakes.activities, async (run) => {
      await run.result();
      expect((await run.query(statusQuery)).warnings).toEqual([]);
      const steps = (await run.query(statusQuery)).stages.length;
      expect(fakes.ledger.filter(({ type }) => type === 'stage-started')).toHaveLength(steps);
      expect(fakes.ledger.at(-1)?.type).toBe('run-ended');
    });
  });
});

describe('a run can be ended although the store refuses everything for good', () => {
  const refusesAll = () => new Refusing(() => true);
  const refusesLater = () => new Refusing(({ type }) => type !== 'run-opened');

  it.each([
    ['from its first record on', refusesAll],
    ['from a later one on', refusesLater],
  ])('by an abort, %s', async (_, make) => {
    await withRun(make().activities, async (run) => {
      await untilWarned(run);
      const answer = await run.executeUpdate(abortUpdate, { args: [who] });
      expect(answer).toContain('ends');
      const end = await endOf(run);
      if (!(end instanceof WorkflowFailedError)) throw new Error('the run did not fail');
      expect(end.cause).toMatchObject({
        type: 'cancelled',
        message: `aborted by ${who.actor}: ${who.reason}`,
      });
      const { state, problems } = await run.query(statusQuery);
      expect(state).toBe('cancelled');
      expect(problems.join('\n')).toMatch(/did not take \d+ of the ledger's records/);
    });
  });

  it('by a cancellation', async () => {
    await withRun(refusesLater().activities, async (run) => {
      await untilWarned(run);
      await run.cancel();
      await endOf(run);
      expect((await run.describe()).status.name).toBe('CANCELLED');
    });
  });

  it('by an abort before it was prepared: there is no ledger to wait for', async () => {
    const fakes = new FakeActivities();
    const prepareRun = (): Promise<never> => Promise.reject(new Error('the store answered 503'));
    await withRun({ ...fakes.activities, prepareRun }, async (run) => {
      await run.executeUpdate(abortUpdate, { args: [who] });
      await endOf(run);
      expect((await run.query(statusQuery)).state).toBe('cancelled');
    });
  });

  it('by itself, where a failure is to end it', async () => {
    const fakes = new FakeActivities();
    const failing = { ...RECIPE, execution: { graceSeconds: 1, onFailure: 'fail' } };
    fakes.ends.set('04-stage-1', [{ class: 'user-error', message: 'broken' }]);
    fakes.beforeRecord = ({ type }) => (type === 'run-ended' ? Promise.reject(denied()) : Promise.resolve());
    await withWorker(environment, fakes.activities, async () => {
      const run = await environment.client.workflow.start(recipe, {
        taskQueue: TASK_QUEUE,
        workflowId: `r-${randomUUID()}`,
        args: [failing],
      });
      expect(await endOf(run)).toBeInstanceOf(WorkflowFailedError);
    });
  });
});
