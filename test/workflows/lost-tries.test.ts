/** Tries that end without a word: Temporal tries again without end, and an activity that is what its workers die of must not. */
import { Context } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { heartbeating } from '../../activities/lib/heartbeating.js';
import { LostTries } from '../../activities/lib/lost-tries.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

const MOST = 2;

let environment: TestWorkflowEnvironment;

beforeAll(async () => {
  environment = await startServer();
}, 120_000);

afterAll(async () => {
  await environment.teardown();
});

/** What a try of the activity under test does. */
type Tried = 'dies' | 'fails' | 'does its work' | 'says too much';

/** A run whose first activity does this in its tries, one after the other; what the run ends with, and the tries that were begun. */
async function run(tries: readonly Tried[]) {
  const fakes = new FakeActivities();
  const begun: number[] = [];
  const prepared = fakes.activities.prepareRun;
  const prepareRun = async (input: Parameters<typeof prepared>[0]): Promise<unknown> => {
    const context = Context.current();
    const tried = tries[context.info.attempt - 1];
    // As far as it comes with a worker that dies of it: it has no timer that heartbeats.
    if (tried === 'dies') {
      await new LostTries(context, MOST).look();
      begun.push(context.info.attempt);
      return once(context.cancellationSignal, 'abort');
    }
    return heartbeating(
      async () => {
        begun.push(context.info.attempt);
        if (tried === 'fails') throw new Error('a failure that is told');
        return tried === 'says too much' ? 'x'.repeat(6_000_000) : prepared(input);
      },
      { mostLostTries: MOST },
    );
  };
  return withWorker(environment, { ...fakes.activities, prepareRun }, async () => {
    const handle = await environment.client.workflow.start(recipe, {
      taskQueue: TASK_QUEUE,
      workflowId: `r-${randomUUID()}`,
      args: [TINY_SMOKE],
    });
    return { begun, result: await handle.result().catch((error: unknown) => error) };
  });
}

function failureOf(result: unknown): ApplicationFailure {
  let cause: unknown = result;
  while (cause instanceof Error && !(cause instanceof ApplicationFailure)) cause = cause.cause;
  if (!(cause instanceof ApplicationFailure)) throw new Error(`no failure in ${String(result)}`);
  return cause;
}

describe('an activity whose tries are lost, one after the other', () => {
  it('ends as infrastructure, and is not begun again', async () => {
    const { begun, result } = await run(['dies', 'dies', 'does its work']);
    expect(result).toBeInstanceOf(WorkflowFailedError);
    const { type, message } = failureOf(result);
    expect(type).toBe('infrastructure');
    expect(message).toContain('the last 2 tries of prepareRun ended without a word');
    expect(begun).toEqual([1, 2]);
  });

  it('goes on where one in between has told what was wrong', async () => {
    const { begun, result } = await run(['dies', 'fails', 'dies', 'does its work']);
    expect(result).toMatchObject({ reportUrl: expect.any(String) as string });
    expect(begun).toEqual([1, 2, 3, 4]);
  });
});

it('an answer that the server would not even read is a failure at once, and names its activity', async () => {
  const { begun, result } = await run(['says too much']);
  expect(failureOf(result).message).toContain('the result of prepareRun is too large: 6000002 bytes');
  expect(begun).toEqual([1]);
});
