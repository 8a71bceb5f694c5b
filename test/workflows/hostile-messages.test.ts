import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { SIGNALS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import * as workflows from '../../workflows/index.js';
import { pauseSignal, retryStageUpdate, statusQuery } from '../../workflows/messages.js';
import { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { HOSTILE_VALUES } from '../support/hostile.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

let environment: TestWorkflowEnvironment;

beforeAll(async () => {
  environment = await startServer();
}, 120_000);

afterAll(async () => {
  await environment.teardown();
});

/** Longest answer to nonsense, characters. */
const BOUND = 20_001;
/** Payloads that no converter reads: an encoding that the UI offers, one that nobody knows, and JSON that is none. */
const UNREADABLE = [
  { metadata: { encoding: Buffer.from('json/protobuf') }, data: Buffer.from('{}') },
  { metadata: { encoding: Buffer.from('x') }, data: Buffer.from('x') },
  { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('{') },
  { metadata: {}, data: Buffer.from('1') },
];

const janitorActivities = {
  stopOrphans: () => Promise.resolve([]),
  recordCutRuns: () => Promise.resolve([]),
  abortStaleUploads: () => Promise.resolve([]),
};

const namesSchema = z.array(z.looseObject({ name: z.string() })).default([]);
const metadataSchema = z.looseObject({
  definition: z.looseObject({ signalDefinitions: namesSchema, updateDefinitions: namesSchema }),
  currentDetails: z.string().default(''),
});

/** What a workflow says it listens to, and shows on its page. */
async function metadataOf(handle: WorkflowHandle) {
  const { definition, currentDetails } = metadataSchema.parse(
    await handle.query('__temporal_workflow_metadata'),
  );
  const named = (definitions: readonly { readonly name: string }[]) => definitions.map(({ name }) => name);
  const updates = named(definition.updateDefinitions);
  // Last, the one that every payload means the same to: it ends the attempt.
  const signals = named(definition.signalDefinitions).sort(
    (a, b) => Number(a === pauseSignal.name) - Number(b === pauseSignal.name),
  );
  return { signals, updates, currentDetails };
}

async function signalEverything(handle: WorkflowHandle, name: string): Promise<void> {
  await handle.signal(name);
  for (const value of HOSTILE_VALUES.values()) await handle.signal(name, value);
  await handle.signal(name, null, null);
  for (const payload of UNREADABLE) {
    await environment.client.workflowService.signalWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: handle.workflowId },
      signalName: name,
      input: { payloads: [payload] },
    });
  }
}

/** What an update was refused with. */
async function refusal(handle: WorkflowHandle, name: string, input: unknown): Promise<string> {
  const error: unknown = await handle
    .executeUpdate(name, { args: [input] })
    .catch((caught: unknown) => caught);
  if (!(error instanceof WorkflowUpdateFailedError))
    throw new Error(`${name} was accepted: ${String(error)}`);
  return error.cause?.message ?? '';
}

/** Workflow tasks that failed: what a bricked workflow has without end. */
async function failedTasks({ workflowId }: Pick<WorkflowHandle, 'workflowId'>): Promise<number> {
  const { events } = await environment.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).filter((event) => Boolean(event.workflowTaskFailedEventAttributes)).length;
}

async function untilOpen(handle: WorkflowHandle): Promise<void> {
  for (;;) {
    const described = await handle.describe().catch(() => null);
    if (described?.status.name === 'RUNNING') return;
    await sleep(50);
  }
}

describe('a message stops nothing but itself, whatever is in it', () => {
  const STAGES = ['02-base-evaluation', '04-stage-1'];

  it('takes every hostile value at every handler of the run and of its stages, and completes', async () => {
    const fakes = new FakeActivities();
    // The stage is there for all of its messages: its job saves until it is told that it has.
    for (const folder of STAGES) fakes.ends.set(folder, ['until-told']);
    await withWorker(environment, fakes.activities, async () => {
      const workflowId = `r-${randomUUID()}`;
      const run = await environment.client.workflow.start(recipe, {
        taskQueue: TASK_QUEUE,
        workflowId,
        args: [TINY_SMOKE],
      });
      for (const folder of STAGES) {
        const stage = environment.client.workflow.getHandle(`${workflowId}/${folder}`);
        await untilOpen(stage);
        const { signals, updates } = await metadataOf(stage);
        expect({ signals, updates }).toEqual({
          signals: [
            SIGNALS.queued.name,
            SIGNALS.progress.name,
            SIGNALS.setBudgets.name,
            SIGNALS.pauseStage.name,
          ],
          updates: [],
        });
        for (const name of signals) {
          if (name === pauseSignal.name) expect((await metadataOf(stage)).currentDetails).toMatch(/dropped/);
          await signalEverything(stage, name);
        }
        expect(await failedTasks(stage)).toBe(0);
        fakes.saved.emit('now');
      }
      const { signals, updates } = await metadataOf(run);
      expect({ signals, updates: updates.length }).toEqual({
        signals: [SIGNALS.stageProgress.name, SIGNALS.stageQueued.name],
        updates: 7,
      });
      for (const name of signals) await signalEverything(run, name);
      const result = await run.result();
      expect(result.reportUrl).not.toBeNull();
      const { state, warnings } = await run.query(statusQuery);
      expect(state).toBe('completed');
      const sent = signals.length * (HOSTILE_VALUES.size + UNREADABLE.length + 2);
      expect(warnings).toEqual([expect.stringContaining(`${sent} messages were dropped`)]);
      expect(warnings.join().length).toBeLessThan(4000);
      expect(await failedTasks(run)).toBe(0);
    });
  });

  it('refuses every update that makes no sense with one bounded sentence, and goes on', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set('04-stage-1', [{ class: 'user-error', message: 'broken' }]);
    await withWorker(environment, fakes.activities, async () => {
      const run = await environment.client.workflow.start(recipe, {
        taskQueue: TASK_QUEUE,
        workflowId: `r-${randomUUID()}`,
        args: [TINY_SMOKE],
      });
      while ((await run.query(statusQuery)).state !== 'parked') await sleep(50);
      const { updates } = await metadataOf(run);
      const who = { actor: 'kim', reason: 'a test' };
      for (const name of updates) {
        for (const [what, value] of HOSTILE_VALUES) {
          expect((await refusal(run, name, value)).length, `${name} of ${what}`).toBeLessThan(BOUND);
        }
        await refusal(run, name, undefined);
      }
      for (const [what, value] of HOSTILE_VALUES) {
        if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) continue;
        const input = { ...who, overrides: value };
        expect(
          (await refusal(run, retryStageUpdate.name, input)).length,
          `overrides of ${what}`,
        ).toBeLessThan(BOUND);
      }
      expect(await failedTasks(run)).toBe(0);
      await run.executeUpdate(retryStageUpdate, { args: [who] });
      await run.result();
    });
  });
});

describe('a workflow that is started with nonsense ends at once, and says why', () => {
  it('ends every workflow type on every hostile value as user-error, without a failed task', async () => {
    const fakes = new FakeActivities();
    await withWorker(environment, { ...fakes.activities, ...janitorActivities }, async () => {
      const inputs: unknown[][] = [[], ...[...HOSTILE_VALUES.values()].map((value) => [value]), [null, null]];
      for (const type of Object.keys(workflows)) {
        await Promise.all(inputs.map((args) => endsAtOnce(type, args)));
      }
    });
  });

  async function endsAtOnce(type: string, args: unknown[]): Promise<void> {
    const handle = await environment.client.workflow.start(type, {
      taskQueue: TASK_QUEUE,
      workflowId: `${type}-${randomUUID()}`,
      args,
    });
    const end: unknown = await handle.result().catch((error: unknown) => error);
    if (end instanceof WorkflowFailedError) {
      expect(end.cause).toBeInstanceOf(ApplicationFailure);
      expect(end.cause).toMatchObject({ type: 'user-error', nonRetryable: true });
      expect(end.cause?.message.length).toBeLessThan(BOUND);
      expect(end.cause?.message).toMatch(/no input|refused/);
    }
    expect(await failedTasks(handle), `${type} of ${JSON.stringify(args).slice(0, 80)}`).toBe(0);
  }

  it('ends every workflow type on a payload that nobody can read', async () => {
    const fakes = new FakeActivities();
    await withWorker(environment, { ...fakes.activities, ...janitorActivities }, async () => {
      for (const type of Object.keys(workflows)) {
        for (const payload of UNREADABLE) {
          const workflowId = `${type}-${randomUUID()}`;
          await environment.client.workflowService.startWorkflowExecution({
            namespace: 'default',
            workflowId,
            workflowType: { name: type },
            taskQueue: { name: TASK_QUEUE },
            requestId: randomUUID(),
            input: { payloads: [payload] },
          });
          const handle = environment.client.workflow.getHandle(workflowId);
          await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'user-error' } });
          expect(await failedTasks(handle)).toBe(0);
        }
      }
    });
  });
});
