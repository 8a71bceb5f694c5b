import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OperatorAction } from '../../src/domain/run/operator-actions.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import type { RunStatus } from '../../src/domain/run/status.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { statusQuery } from '../../workflows/messages.js';
import type { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { resetRun } from '../support/reset-run.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

let environment: TestWorkflowEnvironment;

beforeAll(async () => {
  environment = await startServer();
}, 120_000);

afterAll(async () => {
  await environment.teardown();
});

const who = { actor: 'kim@example.org', reason: 'a test' };
const STAGE = '04-stage-1';

type Run = WorkflowHandle<typeof recipe>;

function start(input: object): Promise<Run> {
  return environment.client.workflow.start<typeof recipe>(WORKFLOWS.recipe.name, {
    taskQueue: TASK_QUEUE,
    workflowId: `r-${randomUUID()}`,
    args: [input],
  });
}

async function until(handle: Run, wanted: (status: RunStatus) => boolean): Promise<RunStatus> {
  for (;;) {
    const status = await handle.query(statusQuery);
    if (wanted(status)) return status;
    await sleep(50);
  }
}

const ask = (handle: Run, action: OperatorAction, more: object = {}): Promise<string> =>
  handle.executeUpdate<string, [object]>(action, { args: [{ ...who, ...more }] });

const reset = (handle: Run, task: number): Promise<Run> => resetRun(environment, handle, task);

const actionsIn = ({ ledger }: FakeActivities) =>
  ledger.flatMap((entry) => (entry.type === 'action' ? [[entry.action, entry.repeats ?? null]] : []));

describe('what operators did before a reset is not done again by it, and the ledger says so', () => {
  it('an approval opens its gate once: after the reset it is asked for again', async () => {
    const fakes = new FakeActivities();
    await withWorker(environment, fakes.activities, async () => {
      let handle = await start({ ...TINY_SMOKE, execution: { approvals: ['stage-1'] } });
      await until(handle, ({ state }) => state === 'waiting');
      await ask(handle, 'approve', { stage: 'stage-1' });
      await handle.result();
      const attempts = fakes.attempts.length;
      handle = await reset(handle, 0);
      const waiting = await until(
        handle,
        ({ state, warnings }) => state === 'waiting' && warnings.length > 0,
      );
      expect(waiting.warnings.join()).toMatch(/approve was not done again after the reset.*record \d+/);
      expect(fakes.attempts.slice(attempts).some(({ folder }) => folder === STAGE)).toBe(false);
      await ask(handle, 'approve', { stage: 'stage-1' });
      await handle.result();
      const [first, again, asked] = actionsIn(fakes);
      expect(first).toEqual(['approve', null]);
      expect(again).toEqual(['approve', expect.any(Number)]);
      expect(asked).toEqual(['approve', null]);
    });
  });

  it('neither a pause nor a budget nor an abort comes back', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['until-stopped', 'until-stopped']);
    await withWorker(environment, fakes.activities, async () => {
      let handle = await start(TINY_SMOKE);
      await until(handle, () => fakes.attempts.some(({ folder }) => folder === STAGE));
      await ask(handle, 'setBudget', { class: 'hang', relaunches: 9 });
      await ask(handle, 'pause');
      await until(handle, ({ state }) => state === 'paused');
      await ask(handle, 'resume');
      await until(handle, () => fakes.attempts.filter(({ folder }) => folder === STAGE).length === 2);
      await ask(handle, 'abort');
      await handle.result().catch(() => undefined);
      handle = await reset(handle, 0);
      await handle.result();
      expect((await handle.query(statusQuery)).state).toBe('completed');
      const repeated = actionsIn(fakes).slice(4);
      expect(repeated.every(([, record]) => record !== null)).toBe(true);
      expect(repeated.map(([action]) => action)).toContain('abort');
    });
  });
});

describe('a child that tells no end is started anew, with what its attempts have used up', () => {
  const stageOf = (handle: Run) => environment.client.workflow.getHandle(`${handle.workflowId}/${STAGE}`);
  const attemptsIn = ({ attempts }: FakeActivities) => attempts.filter(({ folder }) => folder === STAGE);

  it('terminated with its run, and the run reset to a point after it began', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['until-stopped']);
    await withWorker(environment, fakes.activities, async () => {
      let handle = await start(TINY_SMOKE);
      await until(handle, () => attemptsIn(fakes).length === 1);
      await handle.terminate();
      handle = await reset(handle, -1);
      await handle.result();
      expect(attemptsIn(fakes).length).toBeGreaterThan(1);
      // And once more, from behind the first reset.
      handle = await reset(handle, -1);
      await handle.result();
    });
  });

  it('terminated alone', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['until-stopped']);
    await withWorker(environment, fakes.activities, async () => {
      const handle = await start(TINY_SMOKE);
      await until(handle, () => attemptsIn(fakes).length === 1);
      await stageOf(handle).terminate();
      await handle.result();
      expect((await handle.query(statusQuery)).state).toBe('completed');
    });
  });

  it('and does not get a budget again that is used up', async () => {
    const fakes = new FakeActivities();
    const oom = { class: 'out-of-memory', signature: 'the same', message: 'too large' } as const;
    fakes.ends.set(STAGE, [oom, 'until-stopped', { ...oom }]);
    await withWorker(environment, fakes.activities, async () => {
      const handle = await start(TINY_SMOKE);
      await until(handle, () => attemptsIn(fakes).length === 2);
      await stageOf(handle).terminate();
      const { parked } = await until(handle, ({ state }) => state === 'parked');
      expect(parked).toMatchObject({ class: 'out-of-memory', message: 'too large', checkpoints: [] });
      expect(attemptsIn(fakes)).toHaveLength(3);
      await handle.terminate();
    });
  });
});
