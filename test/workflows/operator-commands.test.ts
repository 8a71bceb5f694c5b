import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { execa } from 'execa';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { operate } from '../../src/cli/operate.js';
import { whyUnanswered } from '../../src/cli/unanswered.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { SEARCH_ATTRIBUTES } from '../../src/domain/run/search-attributes.js';
import type { RunState } from '../../src/domain/run/status.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { statusQuery } from '../../workflows/messages.js';
import { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { PATIENCE_MS } from '../support/patience.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

const LONGHAUL = fileURLToPath(new URL('../../bin/longhaul.mjs', import.meta.url));
const STAGE = '04-stage-1';
const CHECKPOINT = '00000010-0001-0123abcd';

let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await startServer();
  folder = await mkdtemp(join(tmpdir(), 'longhaul-commands-'));
}, 120_000);

afterAll(async () => {
  await environment.teardown();
  await rm(folder, { recursive: true });
});

interface Said {
  readonly code: number | undefined;
  readonly out: string;
  readonly errors: string;
}

/** The command line as a user runs it: a process of its own. */
async function longhaul(...args: string[]): Promise<Said> {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [LONGHAUL, ...args], {
    reject: false,
    env: { LONGHAUL_TEMPORAL_ADDRESS: environment.address, NO_COLOR: '1' },
  });
  return { code: exitCode, out: stdout, errors: stderr };
}

const why = ['--actor', 'kim@example.org', '--reason', 'the disk was full'];

type Run = WorkflowHandle<typeof recipe>;

/** A run on the real workflow code whose first training stage fails for good at first. */
async function withParkedRun(
  input: object,
  body: (run: string, handle: Run, fakes: FakeActivities) => Promise<void>,
): Promise<void> {
  const fakes = new FakeActivities();
  fakes.ends.set(STAGE, [
    {
      class: 'user-error',
      message: 'no space left on device',
      checkpoints: [CHECKPOINT],
      logTail: ['saving', 'OSError: 28'],
    },
  ]);
  await withWorker(environment, fakes.activities, async () => {
    const run = `r-${randomUUID().slice(0, 8)}`;
    const options = { taskQueue: TASK_QUEUE, workflowId: run, args: [input] as [object] };
    const handle = await environment.client.workflow.start(recipe, options);
    try {
      await inState(handle, 'parked');
      await body(run, handle, fakes);
    } finally {
      await handle.terminate().catch(() => undefined);
    }
  });
}

async function inState(handle: Run, state: RunState): Promise<void> {
  while ((await handle.query(statusQuery)).state !== state) await sleep(50);
}

describe('an operator repairs a run from the command line', () => {
  it('reads on one screen what failed, in which class, the log’s last lines and what can be done', async () => {
    await withParkedRun(TINY_SMOKE, async (run) => {
      const { code, out } = await longhaul('status', run);
      expect(code).toBe(0);
      expect(out).toMatch(/‖ 04-stage-1 is parked after 1 attempt: user-error\n +no space left on device/);
      expect(out).toMatch(/Last lines of its log:\n +saving\n +OSError: 28\n/);
      expect(out).toContain(`A retry begins at checkpoint ${CHECKPOINT}`);
      expect(out).toMatch(/What can be done:\n +retryStage/);
    });
  });

  it('retries the stage from a checkpoint of their choice, with settings changed', async () => {
    await withParkedRun(TINY_SMOKE, async (run, handle, fakes) => {
      const overrides = join(folder, 'overrides.json');
      await writeFile(overrides, JSON.stringify({ schedule: { peak: 5e-4 } }));
      const said = await longhaul(...['retry', run, '--from', CHECKPOINT, '--overrides', overrides], ...why);
      expect(said).toMatchObject({ code: 0, errors: '' });
      expect(said.out).toContain(CHECKPOINT);
      await handle.result();
      expect(fakes.attempts.find(({ from }) => from === CHECKPOINT)).toMatchObject({ folder: STAGE });
      expect(fakes.ledger).toContainEqual(
        expect.objectContaining({
          type: 'action',
          action: 'retryStage',
          actor: 'kim@example.org',
          reason: 'the disk was full',
        }),
      );
    });
  });

  it('takes the account of the operating system for the actor', async () => {
    await withParkedRun(TINY_SMOKE, async (run, handle, fakes) => {
      const { stdout: account } = await execa('id', ['-un']);
      expect((await longhaul('retry', run, '--reason', 'again')).code).toBe(0);
      await handle.result();
      expect(fakes.ledger).toContainEqual(expect.objectContaining({ type: 'action', actor: account }));
    });
  });

  it('aborts a run', async () => {
    await withParkedRun(TINY_SMOKE, async (run, handle) => {
      expect((await longhaul('abort', run, ...why)).code).toBe(0);
      await handle.result().catch(() => undefined);
      expect((await handle.describe()).status.name).not.toBe('RUNNING');
    });
  });

  it('opens gates and changes budgets, in options that become the update’s fields', async () => {
    const input = { ...TINY_SMOKE, execution: { approvals: ['stage-2'] } };
    await withParkedRun(input, async (run, handle) => {
      expect(await longhaul('budget', run, '--class', 'hang', '--relaunches', '9', ...why)).toMatchObject({
        code: 0,
        errors: '',
      });
      expect((await longhaul('retry', run, ...why)).code).toBe(0);
      await inState(handle, 'waiting');
      expect((await longhaul('status', run)).out).toMatch(/‖ waits for approval of stage-2/);
      expect((await longhaul('approve', run, '--stage', 'stage-2', ...why)).code).toBe(0);
      await handle.result();
    });
  });
});

describe('an action that makes no sense is refused with a sentence that says what would be accepted', () => {
  it('which the command prints, and exits with 1', async () => {
    await withParkedRun(TINY_SMOKE, async (run) => {
      const said = await longhaul('resume', run, ...why);
      expect(said).toMatchObject({ code: 1, out: '' });
      expect(said.errors).toMatch(/refuses resume: the run is not paused, it is parked; .* retryStage/);
    });
  });

  it('whatever is wrong with it', async () => {
    const who = { actor: 'kim@example.org', reason: 'the disk was full' };
    const cases = [
      ['skipStage', who, /04-stage-1 is needed by .*; skip those first/],
      ['retryStage', { ...who, reason: ' ' }, /retryStage takes \{actor, reason, .*reason: say why/],
      ['retryStage', { ...who, stage: '99-x' }, /there is no stage "99-x"; there are 01-curation, /],
      ['retryStage', { ...who, from: '00000001-0001-00000000' }, new RegExp(`accepted: .*${CHECKPOINT}`)],
      [
        'retryStage',
        { ...who, overrides: { tokens: 5 } },
        /refuses retryStage: stages.*cannot change .* accepted: schedule/,
      ],
      ['setBudget', { ...who, class: 'bad luck', relaunches: 1 }, /class: /],
      ['approve', { ...who, stage: 'stage-2' }, /no closed gate before "stage-2"/],
    ] as const;
    await withParkedRun(TINY_SMOKE, async (run) => {
      for (const [action, input, sentence] of cases) {
        await expect(operate(environment.client, run, action, input)).rejects.toThrow(sentence);
      }
    });
  });

  it('a run that is over, or was never there', async () => {
    await withParkedRun(TINY_SMOKE, async (run, handle) => {
      await handle.terminate('a test');
      expect((await longhaul('pause', run, ...why)).errors).toBe(
        `The run ${run} is over (terminated); it takes no more actions.`,
      );
    });
    expect((await longhaul('pause', 'nowhere', ...why)).errors).toBe('There is no run nowhere.');
  });

  it('overrides that are no JSON object, without asking the run', async () => {
    const said = await longhaul('retry', 'nowhere', '--overrides', '[1]', ...why);
    expect(said.errors).toMatch(/^--overrides: /);
  });

  it('a command without a reason', async () => {
    const said = await longhaul('abort', 'nowhere');
    expect(said.code).toBe(1);
    expect(said.errors).toContain('--reason');
  });
});

describe('a run that does not answer', () => {
  const asked = { actor: 'kim', reason: 'a test' };
  const started = (input: object = {}): Promise<Run> =>
    environment.client.workflow.start(recipe, {
      taskQueue: TASK_QUEUE,
      workflowId: `r-${randomUUID().slice(0, 8)}`,
      args: [input],
    });

  it('is said to wait for a worker instead of keeping its operator for ever', async () => {
    const handle = await started();
    try {
      const paused = operate(environment.client, handle.workflowId, 'pause', asked, 1000);
      await expect(paused).rejects.toThrow(/No worker has answered/);
    } finally {
      await handle.terminate();
    }
  });

  it('because the store takes no record is said to have taken the action', async () => {
    const fakes = new FakeActivities();
    let isDown = true;
    fakes.ends.set(STAGE, ['until-told']);
    fakes.beforeRecord = ({ type }) =>
      isDown && type === 'action' ? Promise.reject(new Error('the store answered 503')) : Promise.resolve();
    await withWorker(environment, fakes.activities, async () => {
      const handle = await started(TINY_SMOKE);
      try {
        while (!fakes.attempts.some(({ folder: stage }) => stage === STAGE)) await sleep(50);
        const said = await operate(environment.client, handle.workflowId, 'pause', asked, 2000);
        expect(said).toMatch(/has taken the pause; .*ledger.*no need to repeat it/);
        expect((await handle.query(statusQuery)).waitingFor).toContain('paused by kim');
      } finally {
        isDown = false;
        fakes.saved.emit('now');
        await handle.terminate();
      }
    });
  });

  it('though a worker is there is not said to lack one, but what the worker fails with', async () => {
    const { client, namespace } = environment;
    const { name } = SEARCH_ATTRIBUTES.loss;
    // The server keeps its map of them for a while, so that this is the last test of its server.
    const attributes = { namespace: namespace ?? 'default' };
    await environment.connection.operatorService.removeSearchAttributes({
      ...attributes,
      searchAttributes: [name],
    });
    await withWorker(environment, new FakeActivities().activities, async () => {
      const handle = await started(TINY_SMOKE);
      try {
        await vi.waitUntil(
          async () => ((await handle.describe()).raw.pendingWorkflowTask?.attempt ?? 0) > 1,
          { timeout: PATIENCE_MS },
        );
        expect(await whyUnanswered(client, handle.workflowId)).toMatch(
          new RegExp(`^A worker is there, but can't go on .*${name}`),
        );
        await expect(operate(client, handle.workflowId, 'pause', asked, 2000)).rejects.toThrow(
          /A worker is there/,
        );
      } finally {
        await handle.terminate();
      }
    });
  });
});
