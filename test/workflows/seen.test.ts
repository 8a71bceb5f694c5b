/** What an operator sees of a job that runs: what of it is saved since when, and what it waits for. */
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { RunWatcher } from '../../src/cli/run-watcher.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import type { AttemptProgress } from '../../src/domain/run/progress.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { progressSignal, statusQuery } from '../../workflows/messages.js';
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

const STAGE = '04-stage-1';
const AT = '2026-01-01T10:00:00.000Z';
const FULL = { text: 'checkpoint of step 300 waits for the store', at: '2026-01-01T10:41:03.000Z' };
/** As an earlier version's worker sends it. */
const PLAIN: AttemptProgress = {
  epoch: 1,
  phase: 'step',
  step: 10,
  steps: 500,
  tokens: 1000,
  loss: 3,
  learningRate: 1e-3,
  tokensPerSecond: 100,
  secondsLeft: 3,
  commit: '00000200-0001-0a1b2c3d',
};
const COMMITTED = { ...PLAIN, step: 210, commitStep: 200, commitAt: AT };
const WARNED = { ...COMMITTED, step: 1300, warning: FULL };

const start = () =>
  environment.client.workflow.start(recipe, {
    taskQueue: TASK_QUEUE,
    workflowId: `r-${randomUUID()}`,
    args: [TINY_SMOKE],
  });

async function until<T>(read: () => Promise<T>, holds: (found: T) => boolean): Promise<T> {
  for (;;) {
    const found = await read();
    if (holds(found)) return found;
    await sleep(50);
  }
}

/** What the page of a workflow shows. */
async function pageOf(handle: WorkflowHandle): Promise<string> {
  const answer: unknown = await handle.query('__temporal_workflow_metadata');
  return z.looseObject({ currentDetails: z.string().default('') }).parse(answer).currentDetails;
}

it('the run and its stage show the newest checkpoint and the warning that stands, until the job gets on', async () => {
  const fakes = new FakeActivities();
  fakes.ends.set(STAGE, ['until-stopped']);
  await withWorker(environment, fakes.activities, async () => {
    const run = await start();
    const stage = environment.client.workflow.getHandle(`${run.workflowId}/${STAGE}`);
    await until(
      () => Promise.resolve(fakes.calls),
      (calls) => calls.includes(`run ${STAGE}`),
    );
    const shown = async (progress: AttemptProgress) => {
      await stage.signal(progressSignal, progress);
      const row = await until(
        async () => (await run.query(statusQuery)).stages.find(({ folder }) => folder === STAGE),
        (found) => found?.step === progress.step,
      );
      return { row, pages: [await pageOf(stage), await pageOf(run)] };
    };

    const plain = await shown(PLAIN);
    expect(plain.row?.checkpoint).toBeUndefined();
    expect(plain.pages.join()).not.toMatch(/checkpoint:|Warning/);

    const warned = await shown(WARNED);
    expect(warned.row).toMatchObject({ checkpoint: { step: 200, at: AT }, warning: FULL });
    for (const page of warned.pages) {
      expect(page).toContain('Newest checkpoint: step 200, 2026-01-01 10:00:00 UTC');
      expect(page).toContain(`> Warning, 2026-01-01 10:41:03 UTC: ${FULL.text}`);
    }

    const calm = await shown({ ...COMMITTED, step: 1400, commitStep: 1400 });
    expect(calm.row).toMatchObject({ checkpoint: { step: 1400, at: AT }, warning: null });
    expect(calm.pages.join()).not.toContain('Warning');

    await shown({ ...WARNED, step: 1500 });
    await run.cancel();
    await run.result().catch((error: unknown) => error);
    const { stages, warnings } = await run.query(statusQuery);
    expect(stages.map(({ warning }) => warning ?? null)).toEqual(stages.map(() => null));
    expect(warnings).toEqual([]);
  });
});

it('a stage that waits before its next attempt says for how long and why, on its page and to the command line', async () => {
  const fakes = new FakeActivities();
  fakes.ends.set(STAGE, [{ class: 'capacity', message: 'no node is free\nand no more of this' }]);
  await withWorker(environment, fakes.activities, async () => {
    const run = await start();
    const watcher = new RunWatcher(environment.client, run.workflowId);
    const status = await until(
      () => watcher.read(),
      (found) => found?.stages.some(({ warning }) => Boolean(warning)) ?? false,
    );
    const said =
      /the next attempt begins at [-0-9]{10} [:0-9]{8} UTC; attempt 1 ended as capacity: no node is free$/;
    const stage = status?.stages.find(({ folder }) => folder === STAGE);
    expect(stage?.warning?.text).toMatch(said);
    expect(await pageOf(environment.client.workflow.getHandle(`${run.workflowId}/${STAGE}`))).toMatch(said);
    await run.result();
    expect((await watcher.read())?.stages.filter(({ warning }) => Boolean(warning))).toEqual([]);
  });
});
