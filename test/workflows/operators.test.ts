import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { UpdateDefinition } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import type { RunState, RunStatus } from '../../src/domain/run/status.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import {
  abortUpdate,
  approveUpdate,
  pauseUpdate,
  resumeUpdate,
  retryStageUpdate,
  setBudgetUpdate,
  skipStageUpdate,
  statusQuery,
} from '../../workflows/messages.js';
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
const BROKEN = { class: 'user-error', message: 'no such column', logTail: ['KeyError'] } as const;
const who = { actor: 'kim@example.org', reason: 'a test' };

type Run = WorkflowHandle<typeof recipe>;

/** Starts a recipe on the real workflow code and gives it to `body`; the run need not end. */
async function withRun<T>(
  fakes: FakeActivities,
  input: object,
  body: (handle: Run) => Promise<T>,
): Promise<T> {
  return withWorker(environment, fakes.activities, async () => {
    const workflowId = `r-${randomUUID()}`;
    const handle = await environment.client.workflow.start(recipe, {
      taskQueue: TASK_QUEUE,
      workflowId,
      args: [input],
    });
    try {
      return await body(handle);
    } finally {
      fakes.saved.emit('now');
      await handle.terminate().catch(() => undefined);
    }
  });
}

async function until(handle: Run, wanted: (status: RunStatus) => boolean): Promise<RunStatus> {
  for (;;) {
    const status = await handle.query(statusQuery);
    if (wanted(status)) return status;
    await sleep(50);
  }
}

const inState = (handle: Run, state: RunState) => until(handle, (status) => status.state === state);

/** What an update was refused with. */
async function refusal<I>(handle: Run, update: UpdateDefinition<string, [I]>, input: I): Promise<string> {
  const error: unknown = await handle
    .executeUpdate(update, { args: [input] })
    .catch((caught: unknown) => caught);
  if (!(error instanceof WorkflowUpdateFailedError))
    throw new Error(`the update was accepted: ${String(error)}`);
  return error.cause?.message ?? '';
}

/** How the stage ended each time, as the run's ledger says. */
function resultsIn(ledger: readonly LedgerEntry[]): string[] {
  return ledger.flatMap((entry) =>
    entry.type === 'stage-ended' && entry.folder === STAGE ? [entry.result] : [],
  );
}

function parking(): FakeActivities {
  const fakes = new FakeActivities();
  fakes.ends.set(STAGE, [{ ...BROKEN, checkpoints: ['00000010-0001-0123abcd'] }]);
  return fakes;
}

describe('a stage whose budget is used up parks the run, which waits for an operator', () => {
  it('says what failed, in which class, with the job’s last lines, and what can be done', async () => {
    await withRun(parking(), TINY_SMOKE, async (handle) => {
      const { parked, stages, problems } = await inState(handle, 'parked');
      expect(parked).toMatchObject({
        folder: STAGE,
        class: 'user-error',
        message: 'no such column',
        logTail: ['KeyError'],
      });
      expect(parked?.choices.join('\n')).toMatch(/retryStage.*\n.*06-stage-2.* need.*\n.*abort/s);
      expect(stages.find(({ folder }) => folder === STAGE)?.state).toBe('parked');
      expect(problems.join()).toContain('no such column');
    });
  });

  it('parks in the class of an attempt that was refused, and retries that as well', async () => {
    const fakes = new FakeActivities();
    const refused = { type: 'checkpoint', nonRetryable: true, message: 'HEAD is missing' };
    fakes.ends.set(STAGE, [ApplicationFailure.create(refused)]);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      const { parked } = await inState(handle, 'parked');
      expect(parked).toMatchObject({ folder: STAGE, class: 'checkpoint', message: 'HEAD is missing' });
      await handle.executeUpdate(retryStageUpdate, { args: [who] });
      await handle.result();
    });
  });

  it('knows of checkpoints what the store says, not what a refused attempt could tell', async () => {
    const fakes = new FakeActivities();
    const refused = { type: 'store', nonRetryable: true, message: 'the store answered 403' };
    fakes.ends.set(STAGE, [ApplicationFailure.create(refused)]);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      const { parked } = await until(handle, (status) => (status.parked?.checkpoints ?? null) !== null);
      expect(parked?.checkpoints).toEqual(fakes.checkpoints);
      const from = '00000010-0001-0123abcd';
      await handle.executeUpdate(retryStageUpdate, { args: [{ ...who, from }] });
      await handle.result();
      expect(fakes.attempts.filter(({ folder }) => folder === STAGE)[1]?.from).toBe(from);
    });
  });

  it('shows that it is parked while the store takes no record of it yet, and forgets none', async () => {
    const fakes = parking();
    const store = new EventEmitter();
    fakes.beforeRecord = async (entry) => {
      if (entry.type === 'stage-ended' && entry.result === 'parked') await once(store, 'back');
    };
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await inState(handle, 'parked');
      expect(resultsIn(fakes.ledger)).not.toContain('parked');
      store.emit('back');
      await handle.executeUpdate(retryStageUpdate, { args: [who] });
      await handle.result();
      expect(resultsIn(fakes.ledger)).toEqual(['parked', 'done']);
    });
  });

  it('retries the stage from the newest checkpoint, records who asked and why, and completes', async () => {
    const fakes = parking();
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await inState(handle, 'parked');
      await handle.executeUpdate(retryStageUpdate, { args: [who] });
      await handle.result();
      const attempts = fakes.attempts.filter(({ folder }) => folder === STAGE);
      expect(attempts.map(({ from }) => from)).toEqual(['head', 'head']);
      expect(attempts[1]?.why).toContain(who.actor);
      expect(fakes.ledger).toContainEqual(
        expect.objectContaining({ type: 'action', action: 'retryStage', actorKind: 'asserted', ...who }),
      );
      expect(resultsIn(fakes.ledger)).toEqual(['parked', 'done']);
    });
  });

  it('begins where the operator says, with the settings the operator gives', async () => {
    const fakes = parking();
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await inState(handle, 'parked');
      const from = '00000010-0001-0123abcd';
      const input = { ...who, from, overrides: { schedule: { peak: 1e-4, floor: 1e-5 } } };
      await handle.executeUpdate(retryStageUpdate, { args: [input] });
      await handle.result();
      const [first, second] = fakes.attempts.filter(({ folder }) => folder === STAGE);
      expect(second).toMatchObject({ from, specRevision: 1 });
      expect(second?.spec).toMatchObject({ schedule: { peak: 1e-4, floor: 1e-5 } });
      expect(first?.spec).not.toMatchObject({ schedule: { peak: 1e-4 } });
    });
  });

  it('leaves out a stage that nothing needs, and no other', async () => {
    const fakes = new FakeActivities();
    const evaluation = '02-base-evaluation';
    fakes.ends.set(evaluation, [BROKEN]);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await inState(handle, 'parked');
      expect(await refusal(handle, skipStageUpdate, { ...who, stage: STAGE })).toContain('is needed by');
      await handle.executeUpdate(skipStageUpdate, { args: [who] });
      await handle.result();
      const status = await handle.query(statusQuery);
      expect(status.stages.find(({ folder }) => folder === evaluation)?.state).toBe('skipped');
    });
  });

  it('refuses what makes no sense with a sentence that says what would be accepted', async () => {
    await withRun(parking(), TINY_SMOKE, async (handle) => {
      await inState(handle, 'parked');
      expect(await refusal(handle, retryStageUpdate, { ...who, reason: ' ' })).toContain('reason: say why');
      expect(await refusal(handle, retryStageUpdate, { ...who, stage: '99-none' })).toContain(STAGE);
      expect(await refusal(handle, retryStageUpdate, { ...who, stage: '06-stage-2' })).toContain(
        'parked stage',
      );
      expect(await refusal(handle, retryStageUpdate, { ...who, from: '00000099-0001-0123abcd' })).toContain(
        '00000010-0001-0123abcd',
      );
      const overrides = { sequenceLengthTokens: 512 };
      expect(await refusal(handle, retryStageUpdate, { ...who, overrides })).toContain(
        'schedule, optimizer, checkpoints',
      );
      const negative = { schedule: { peak: -1 } };
      expect(await refusal(handle, retryStageUpdate, { ...who, overrides: negative })).toContain(
        'stages.stage-1.schedule.peak',
      );
      expect(await refusal(handle, resumeUpdate, who)).toContain('not paused');
      expect(await refusal(handle, pauseUpdate, who)).toContain('parked');
      expect(await refusal(handle, approveUpdate, { ...who, stage: 'stage-2' })).toContain(
        'no gate is closed',
      );
    });
  });
});

describe('a run that is paused saves, stops and goes on where it was', () => {
  it('stops the running attempt, waits, and goes on from the newest checkpoint', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['until-stopped']);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await until(handle, () => fakes.attempts.some(({ folder }) => folder === STAGE));
      await handle.executeUpdate(pauseUpdate, { args: [who] });
      const paused = await inState(handle, 'paused');
      expect(paused.waitingFor).toContain(who.actor);
      expect(await refusal(handle, pauseUpdate, who)).toContain('paused already');
      await handle.executeUpdate(resumeUpdate, { args: [who] });
      await handle.result();
      const attempts = fakes.attempts.filter(({ folder }) => folder === STAGE);
      expect(attempts.map(({ from }) => from)).toEqual(['head', 'head']);
      expect(fakes.ledger.filter(({ type }) => type === 'action')).toHaveLength(2);
    });
  });

  it('takes a pause twice and a resume while its job saves, and goes on once that is done', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['until-told']);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await until(handle, () => fakes.attempts.some(({ folder }) => folder === STAGE));
      await handle.executeUpdate(pauseUpdate, { args: [who] });
      const pausing = await until(handle, ({ waitingFor }) => waitingFor !== null);
      expect(pausing).toMatchObject({ state: 'running' });
      expect(pausing.waitingFor).toContain(`save and stop; paused by ${who.actor}`);
      const again = { ...who, actor: 'robin' };
      expect(await handle.executeUpdate(pauseUpdate, { args: [again] })).toContain('pausing already');
      expect((await handle.query(statusQuery)).waitingFor).toContain(who.actor);
      for (let times = 0; times < 2; times += 1)
        expect(await handle.executeUpdate(resumeUpdate, { args: [who] })).toContain('has saved and stopped');
      fakes.saved.emit('now');
      await handle.result();
      expect(resultsIn(fakes.ledger)).toEqual(['paused', 'done']);
    });
  });

  it('pauses although the attempt, once cancelled, failed with what would have been tried again', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['fails-when-stopped']);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await until(handle, () => fakes.attempts.some(({ folder }) => folder === STAGE));
      await handle.executeUpdate(pauseUpdate, { args: [who] });
      await inState(handle, 'paused');
      expect(fakes.calls).toContain(`stop jobs of ${STAGE}`);
      await handle.executeUpdate(resumeUpdate, { args: [who] });
      await handle.result();
      const [first, second] = fakes.attempts.filter(({ folder }) => folder === STAGE);
      expect(second?.owner).not.toBe(first?.owner);
      expect(second?.recordsEnds).toBe(true);
    });
  });

  it('takes a pause between stages too', async () => {
    const fakes = new FakeActivities();
    const gated = { ...TINY_SMOKE, execution: { approvals: ['stage-1'] } };
    await withRun(fakes, gated, async (handle) => {
      await inState(handle, 'waiting');
      await handle.executeUpdate(pauseUpdate, { args: [who] });
      await inState(handle, 'paused');
      await handle.executeUpdate(resumeUpdate, { args: [who] });
      await inState(handle, 'waiting');
    });
  });
});

describe('a gate of the recipe stays closed until it is approved', () => {
  it('waits before the stage, and for no other approval', async () => {
    const fakes = new FakeActivities();
    const gated = { ...TINY_SMOKE, execution: { approvals: ['stage-2'] } };
    await withRun(fakes, gated, async (handle) => {
      const { waitingFor } = await inState(handle, 'waiting');
      expect(waitingFor).toContain('approval of stage-2');
      expect(fakes.calls.some((call) => call === 'run 06-stage-2')).toBe(false);
      expect(await refusal(handle, approveUpdate, { ...who, stage: 'stage-1' })).toContain('closed: stage-2');
      await handle.executeUpdate(approveUpdate, { args: [{ ...who, stage: 'stage-2' }] });
      await handle.result();
    });
  });

  it('refuses a gate before a stage that there is not, before anything is launched', async () => {
    const fakes = new FakeActivities();
    await withRun(fakes, { ...TINY_SMOKE, execution: { approvals: ['stage-9'] } }, async (handle) => {
      const result: unknown = await handle.result().catch((error: unknown) => error);
      expect(result).toBeInstanceOf(WorkflowFailedError);
      expect(fakes.calls).toEqual([]);
    });
  });
});

describe('an abort ends the run for good', () => {
  it('stops the running job first, and records who wanted it', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['until-stopped']);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await until(handle, () => fakes.attempts.some(({ folder }) => folder === STAGE));
      await handle.executeUpdate(abortUpdate, { args: [who] });
      const result: unknown = await handle.result().catch((error: unknown) => error);
      expect(result).toBeInstanceOf(WorkflowFailedError);
      const status = await handle.query(statusQuery);
      expect(status.state).toBe('cancelled');
      expect(status.problems).toEqual([`aborted by ${who.actor}: ${who.reason}`]);
      expect(fakes.ledger.at(-1)).toMatchObject({ type: 'run-ended', state: 'cancelled' });
    });
  });

  it('is that of whoever asked first, and leaves nothing else to ask for', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, ['until-told']);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await until(handle, () => fakes.attempts.some(({ folder }) => folder === STAGE));
      await handle.executeUpdate(abortUpdate, { args: [who] });
      await handle.executeUpdate(abortUpdate, { args: [{ ...who, actor: 'robin' }] });
      expect(await refusal(handle, pauseUpdate, who)).toContain('being aborted');
      fakes.saved.emit('now');
      await handle.result().catch(() => undefined);
      expect((await handle.query(statusQuery)).problems).toEqual([`aborted by ${who.actor}: ${who.reason}`]);
    });
  });

  it('ends a parked run as well', async () => {
    await withRun(parking(), TINY_SMOKE, async (handle) => {
      await inState(handle, 'parked');
      await handle.executeUpdate(abortUpdate, { args: [who] });
      await handle.result().catch(() => undefined);
      expect((await handle.describe()).status.name).toBe('FAILED');
    });
  });
});

describe('budgets can be changed while a run goes on', () => {
  it('relaunches as often as the new budget says', async () => {
    const fakes = new FakeActivities();
    const oom = (signature: string) => ({ class: 'out-of-memory' as const, signature, progressed: false });
    fakes.ends.set(STAGE, [oom('a'), oom('b'), oom('c'), oom('d')]);
    const gated = { ...TINY_SMOKE, execution: { approvals: ['stage-1'] } };
    await withRun(fakes, gated, async (handle) => {
      await inState(handle, 'waiting');
      const budget = { ...who, class: 'out-of-memory' as const, relaunches: 10 };
      await handle.executeUpdate(setBudgetUpdate, { args: [budget] });
      await handle.executeUpdate(approveUpdate, { args: [{ ...who, stage: 'stage-1' }] });
      await handle.result();
      expect(fakes.attempts.filter(({ folder }) => folder === STAGE)).toHaveLength(5);
    });
  });

  const hang = (signature: string) => ({ class: 'hang' as const, signature, progressed: false });
  const hangs = (count: number, name: string) =>
    Array.from({ length: count }, (_, n) => hang(`${name}-${n}`));
  const attempts = (fakes: FakeActivities) => fakes.attempts.filter(({ folder }) => folder === STAGE).length;
  const hangBudget = (handle: Run, relaunches: number) =>
    handle.executeUpdate(setBudgetUpdate, { args: [{ ...who, class: 'hang', relaunches }] });

  /** A stage that has hung so often, and runs again until it is told to hang; then it hangs so often more. */
  function hangingStage(before: number, after: number) {
    const fakes = new FakeActivities();
    const told = new EventEmitter();
    const held = once(told, 'hang').then(() => hang('held'));
    fakes.ends.set(STAGE, [...hangs(before, 'before'), held, ...hangs(after, 'after')]);
    const running = (handle: Run) => until(handle, () => attempts(fakes) === before + 1);
    return { fakes, running, hangs: () => void told.emit('hang') };
  }

  it('a running stage whose budget is spent goes on when it is raised', async () => {
    const stage = hangingStage(5, 2);
    await withRun(stage.fakes, TINY_SMOKE, async (handle) => {
      await stage.running(handle);
      expect(await hangBudget(handle, 8)).toBe('Relaunches after hang without progress in between: 8.');
      stage.hangs();
      await handle.result();
      expect(attempts(stage.fakes)).toBe(9);
      expect(stage.fakes.ledger).not.toContainEqual(expect.objectContaining({ result: 'parked' }));
    });
  });

  it('a running stage parks at its next failure when it is lowered below what is spent', async () => {
    const stage = hangingStage(2, 0);
    await withRun(stage.fakes, TINY_SMOKE, async (handle) => {
      await stage.running(handle);
      await hangBudget(handle, 1);
      expect((await handle.query(statusQuery)).state).toBe('running');
      stage.hangs();
      const { parked } = await inState(handle, 'parked');
      expect(parked?.why).toBe('hang: the allowance of relaunches without progress (1) is used up');
      expect(attempts(stage.fakes)).toBe(3);
    });
  });

  it('a stage that has parked on its budget goes on with a raised one, once it is retried', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, [...hangs(6, 'before'), ...hangs(8, 'after')]);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      const { parked } = await inState(handle, 'parked');
      expect(parked?.why).toBe('hang: the allowance of relaunches without progress (5) is used up');
      expect(await hangBudget(handle, 8)).toBe(
        `Relaunches after hang without progress in between: 8. ${STAGE} stays parked until it is retried or skipped.`,
      );
      expect((await handle.query(statusQuery)).state).toBe('parked');
      await handle.executeUpdate(retryStageUpdate, { args: [who] });
      await handle.result();
      expect(attempts(fakes)).toBe(15);
    });
  });

  it('and parks again where that does not suffice either', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, [...hangs(6, 'before'), ...hangs(9, 'after')]);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await inState(handle, 'parked');
      await hangBudget(handle, 8);
      await handle.executeUpdate(retryStageUpdate, { args: [who] });
      await until(handle, () => attempts(fakes) === 15);
      const { parked } = await inState(handle, 'parked');
      expect(parked?.why).toContain('progress (8) is used up');
    });
  });
});

describe('data that breaks the loss is left out, bounded and recorded', () => {
  it('rolls back and skips the steps from the broken one on', async () => {
    const fakes = new FakeActivities();
    fakes.ends.set(STAGE, [{ class: 'numerics', signature: 'numerics|step 3', step: 3 }]);
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await handle.result();
      const [first, second] = fakes.attempts.filter(({ folder }) => folder === STAGE);
      expect(first?.skipSteps).toEqual([]);
      expect(second?.skipSteps).toEqual([{ first: 4, last: 4 }]);
    });
  });
});

describe('a thousand preemptions are nothing to a run', () => {
  it('continues as new, keeps count, and ends like an undisturbed one', async () => {
    const fakes = new FakeActivities();
    const preempted = { class: 'preempted' as const, signature: 'sigterm', progressed: true };
    fakes.ends.set(
      STAGE,
      Array.from({ length: 310 }, () => preempted),
    );
    await withRun(fakes, TINY_SMOKE, async (handle) => {
      await handle.result();
      const stage = environment.client.workflow.getHandle(`${handle.workflowId}/${STAGE}`);
      const runs = environment.client.workflow.list({ query: `WorkflowId = "${stage.workflowId}"` });
      const closings: string[] = [];
      for await (const { status } of runs) closings.push(status.name);
      expect(closings.sort()).toEqual(['COMPLETED', 'CONTINUED_AS_NEW']);
      const attempts = fakes.attempts.filter(({ folder }) => folder === STAGE);
      expect(attempts).toHaveLength(311);
      expect(new Set(attempts.map(({ owner }) => owner)).size).toBe(311);
      // The recipe's 180 s count as a tenth of an interruption, beside 310 after a second each.
      expect(attempts.at(0)?.meanSecondsBetweenInterruptions).toBe(180);
      expect(attempts.at(-1)?.meanSecondsBetweenInterruptions).toBeCloseTo((18 + 310) / 310.1);
      expect((await handle.query(statusQuery)).stages.find(({ folder }) => folder === STAGE)?.attempts).toBe(
        311,
      );
    });
  });
});
