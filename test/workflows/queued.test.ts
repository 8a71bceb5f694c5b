/** What waits for a place says so: in the run's status, on its pages, and to the command line. */
import { Context } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import type { RunAttemptInput } from '../../activities/attempt/types.js';
import { createCurateActivities } from '../../activities/curate.js';
import { QueueTeller } from '../../activities/lib/queue.js';
import { RunWatcher } from '../../src/cli/run-watcher.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { statusQuery } from '../../workflows/messages.js';
import { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { startServer, withWorker } from '../support/workflow-environment.js';
import { folderWith, rootsAt } from '../unit/curation/support.js';

let environment: TestWorkflowEnvironment;
/** A store that takes connections and says nothing: who asks it for a tokenizer keeps his place. */
let silent: Server;
let endpoint: string;
const sockets = new Set<Socket>();

beforeAll(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  environment = await startServer();
  silent = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const address = silent.address();
  if (typeof address !== 'object' || address === null) throw new Error('the server has a port');
  endpoint = `http://127.0.0.1:${String(address.port)}`;
}, 120_000);

afterAll(async () => {
  vi.unstubAllEnvs();
  for (const socket of sockets) socket.destroy();
  silent.close();
  await environment.teardown();
});

const start = () =>
  environment.client.workflow.start(recipe, {
    taskQueue: TASK_QUEUE,
    workflowId: `r-${randomUUID()}`,
    args: [TINY_SMOKE],
  });

const metadataSchema = z.looseObject({ currentDetails: z.string().default('') });

async function detailsOf(
  { workflowId }: Pick<WorkflowHandle, 'workflowId'>,
  folder: string,
): Promise<string> {
  const stage = environment.client.workflow.getHandle(`${workflowId}/${folder}`);
  return metadataSchema.parse(await stage.query('__temporal_workflow_metadata')).currentDetails;
}

type Run = WorkflowHandle<typeof recipe>;

async function noteOf(run: Run, folder: string): Promise<string | undefined> {
  const { stages } = await run.query(statusQuery);
  return stages.find((stage) => stage.folder === folder)?.note;
}

/** Waits until a stage's row says this. */
async function untilNoted(run: Run, folder: string, note: string): Promise<void> {
  while ((await noteOf(run, folder)) !== note) await sleep(50);
}

it('a curation that waits for another’s place is queued until it has it', async () => {
  const fakes = new FakeActivities();
  const folder = await folderWith({});
  const curation = createCurateActivities({
    storeSettings: { endpoint, region: 'us-east-1', idleMs: 600_000 },
    roots: rootsAt(folder),
    cacheFolder: folder,
    maxCurations: 1,
  });
  await withWorker(environment, { ...fakes.activities, ...curation }, async () => {
    const first = await start();
    while (sockets.size === 0) await sleep(50);
    const second = await start();
    await untilNoted(second, '01-curation', 'queued');
    expect(await detailsOf(second, '01-curation')).toContain('Queued');
    const seen = await new RunWatcher(environment.client, second.workflowId).read();
    expect(seen?.stages[0]).toMatchObject({ state: 'running', note: 'queued' });
    expect(await noteOf(first, '01-curation')).toBe('');
    await first.cancel();
    await untilNoted(second, '01-curation', '');
    expect(await detailsOf(second, '01-curation')).not.toContain('Queued');
    await second.cancel();
    for (const run of [first, second]) await expect(run.result()).rejects.toThrow();
  });
});

describe('a stage whose job waits for a place', () => {
  it('is queued until it has one', async () => {
    const fakes = new FakeActivities();
    const place = new EventEmitter();
    const stage = '04-stage-1';
    const runAttempt = async (input: RunAttemptInput) => {
      if (input.folder !== stage) return fakes.activities.runAttempt(input);
      const queue = new QueueTeller(Context.current());
      queue.tell(true);
      for (const tell of [() => queue.tell(false), () => undefined]) {
        await once(place, 'next');
        tell();
      }
      return fakes.activities.runAttempt(input);
    };
    await withWorker(environment, { ...fakes.activities, runAttempt }, async () => {
      const run = await start();
      await untilNoted(run, stage, 'queued');
      expect(await detailsOf(run, stage)).toContain('Queued');
      place.emit('next');
      await untilNoted(run, stage, '');
      expect(await detailsOf(run, stage)).not.toContain('Queued');
      place.emit('next');
      await run.result();
    });
  });
});
