import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, TerminatedFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { statusQuery } from '../../workflows/messages.js';
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

/** Runs a recipe on the real workflow code and gives its fakes, its result and its handle. */
async function run(
  input: unknown,
  prepare: (fakes: FakeActivities) => void = () => undefined,
  workflowId = `r-${randomUUID()}`,
) {
  const fakes = new FakeActivities();
  prepare(fakes);
  return withWorker(environment, fakes.activities, async () => {
    const handle = await environment.client.workflow.start(recipe, {
      taskQueue: TASK_QUEUE,
      workflowId,
      args: input === undefined ? [] : [input],
    });
    const result = await handle.result().catch((error: unknown) => error);
    return {
      fakes,
      handle,
      result,
      status: result instanceof WorkflowFailedError ? undefined : await handle.query(statusQuery),
    };
  });
}

function failureOf(result: unknown): ApplicationFailure {
  expect(result).toBeInstanceOf(WorkflowFailedError);
  let cause: unknown = result;
  while (cause instanceof Error && !(cause instanceof ApplicationFailure) && cause.cause !== undefined)
    cause = cause.cause;
  if (!(cause instanceof ApplicationFailure)) throw new Error(`no application failure in ${String(result)}`);
  return cause;
}

/** The smoke recipe for scripts: what fails, fails. */
const FAILING = { ...TINY_SMOKE, execution: { onFailure: 'fail' } };

describe('the recipe is walked from curation to report', () => {
  it('does the tiny preset in the order of the recipe when started with nothing at all', async () => {
    const { fakes, result, status } = await run(undefined);
    const steps = fakes.calls.filter((call) => !call.startsWith('curate'));
    expect(steps).toEqual([
      'prepare',
      expect.stringMatching(/^run \d+-base-evaluation$/),
      'bump to 80000',
      expect.stringMatching(/^run \d+-stage-1$/),
      'bump to 640000',
      expect.stringMatching(/^run \d+-stage-2$/),
      expect.stringMatching(/^run \d+-sft$/),
      expect.stringMatching(/^run \d+-evaluation$/),
      'report',
    ]);
    expect(result).toMatchObject({ reportUrl: expect.stringMatching(/report\/index\.html$/) as string });
    expect(status?.state).toBe('completed');
    expect(status?.stages.every((stage) => stage.state === 'done')).toBe(true);
  });

  it('starts stage 2 from stage 1’s weights and moments, SFT from stage 2’s weights with fresh moments', async () => {
    const { fakes } = await run(TINY_SMOKE);
    const byStage = new Map([...fakes.specs].map(([folder, spec]) => [folder.replace(/^\d+-/, ''), spec]));
    expect(byStage.get('stage-1')).toMatchObject({ initialize: { from: 'model' } });
    expect(byStage.get('stage-2')).toMatchObject({
      initialize: {
        from: 'checkpoint',
        moments: 'carry',
        checkpoint: { stageUrl: byStage.get('stage-1')?.stageUrl },
      },
    });
    expect(byStage.get('sft')).toMatchObject({
      initialize: {
        from: 'checkpoint',
        moments: 'fresh',
        checkpoint: { stageUrl: byStage.get('stage-2')?.stageUrl },
      },
      objective: 'masked-tokens',
    });
  });

  it('trains each stage with the config of its own RoPE bump, and SFT with the last one', async () => {
    const { fakes } = await run(TINY_SMOKE);
    const [first, second] = fakes.bumps;
    const urls = [...fakes.specs.values()].flatMap((spec) =>
      spec.kind === 'train' ? [spec.config.url] : [],
    );
    expect(urls).toEqual([
      `${first?.stageUrl}/config.json`,
      `${second?.stageUrl}/config.json`,
      `${second?.stageUrl}/config.json`,
    ]);
    expect(second?.config.url).toBe(`${first?.stageUrl}/config.json`);
  });

  it('gives every step a child id that follows from the run and the step alone', async () => {
    const { handle, fakes } = await run(TINY_SMOKE);
    for (const folder of fakes.specs.keys()) {
      const child = environment.client.workflow.getHandle(`${handle.workflowId}/${folder}`);
      expect((await child.describe()).status.name).toBe('COMPLETED');
    }
  });

  it('stays under 500 events, all workflows together', async () => {
    const { handle, fakes } = await run(undefined);
    let events = 0;
    for (const id of ['', ...[...fakes.specs.keys(), '01-curation'].map((folder) => `/${folder}`)]) {
      const history = await environment.client.workflow.getHandle(`${handle.workflowId}${id}`).fetchHistory();
      events += history.events?.length ?? 0;
    }
    expect(events).toBeLessThan(500);
  });
});

describe('a bad recipe is refused before anything is launched', () => {
  it('lists every problem with its path, as a non-retryable user error', async () => {
    const bad = {
      preset: 'tiny',
      colour: 'blue',
      stages: { 'stage-1': { ropeTheta: 10, globalBatchTokens: 1000 } },
    };
    const { fakes, result } = await run(bad);
    const failure = failureOf(result);
    expect(failure.type).toBe('user-error');
    expect(failure.nonRetryable).toBe(true);
    for (const path of ['colour', 'stages.stage-1.ropeTheta', 'stages.stage-1.globalBatchTokens']) {
      expect(failure.message).toContain(path);
    }
    expect(fakes.calls).toEqual([]);
  });

  it('refuses a workflow id that cannot name a run', async () => {
    const { fakes, result } = await run({}, undefined, 'a run/with a slash');
    expect(failureOf(result).message).toContain('cannot name a run');
    expect(fakes.calls).toEqual([]);
  });
});

describe('an attempt that ends without a result', () => {
  it('is followed by another with the next epoch when it was preempted', async () => {
    const stage = '04-stage-1';
    const { fakes, result } = await run(TINY_SMOKE, ({ ends }) => {
      ends.set(stage, [
        { class: 'preempted', signature: 'sigterm' },
        { class: 'preempted', signature: 'sigterm' },
      ]);
    });
    expect(result).toMatchObject({ run: expect.any(String) as string });
    expect(fakes.calls.filter((call) => call === `run ${stage}`)).toHaveLength(3);
    const owners = fakes.attempts.filter(({ folder }) => folder === stage).map(({ owner }) => owner);
    expect(new Set(owners).size).toBe(3);
  });

  it('fails the run with its class, message and log when it is the user’s to mend', async () => {
    const { fakes, result, handle } = await run(FAILING, ({ ends }) => {
      ends.set('04-stage-1', [
        { class: 'user-error', message: 'no such column', logTail: ['Traceback', 'KeyError'] },
      ]);
    });
    const failure = failureOf(result);
    expect(failure.type).toBe('user-error');
    expect(failure.message).toContain('no such column');
    expect(failure.message).toContain('KeyError');
    expect(fakes.calls).not.toContain('report');
    expect(result).not.toBeInstanceOf(TerminatedFailure);
    expect((await handle.describe()).status.name).toBe('FAILED');
  });

  it('stops relaunching when the same failure comes again without a commit in between', async () => {
    const same = { class: 'unknown', signature: 'ValueError|train.py:run' } as const;
    const { fakes, result } = await run(FAILING, ({ ends }) => {
      ends.set(
        '04-stage-1',
        Array.from({ length: 5 }, () => same),
      );
    });
    expect(failureOf(result).message).toContain('the same failure came again');
    expect(fakes.calls.filter((call) => call === 'run 04-stage-1')).toHaveLength(2);
  });
});
