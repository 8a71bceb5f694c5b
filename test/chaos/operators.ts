/** What people do to a run: they pause, repair, cancel, terminate, reset and abort it, from the UI or the command line. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { RunState, RunStatus } from '../../src/domain/run/status.js';
import { QUERIES } from '../../src/domain/run/messages.js';
import type { OperatorAction } from '../../src/domain/run/operator-actions.js';
import { ask } from '../../src/temporal/messages.js';
import { TEST_MS } from '../support/patience.js';
import type { ChaosRun } from './support/chaos-run.js';
import type { ChaosStack } from './support/chaos-stack.js';
import { processesOfRun } from './support/processes.js';
import { CHAOS_RECIPE, CHAOS_STAGE, CHAOS_STEPS } from './support/recipe.js';

const LIMIT = { timeout: TEST_MS };
const who = { actor: 'kim@example.org', reason: 'a test' };
const PARKING = { execution: { ...CHAOS_RECIPE.execution, onFailure: 'park' } };

/** Sends an update in the tests' name. */
export const update = (run: ChaosRun, name: OperatorAction, more: object = {}): Promise<string> =>
  run.handle.executeUpdate<string, [object]>(name, { args: [{ ...who, ...more }] });

/** Waits until the run is in a state. */
export const inState = (run: ChaosRun, state: RunState): Promise<RunStatus> =>
  run.until(`the state ${state}`, async () => {
    const status = await run.status();
    return status.state === state ? status : null;
  });

/** Waits until no process works for the run. */
const jobsGone = (run: ChaosRun): Promise<true> =>
  run.until('the end of its processes', async () => {
    await sleep(50);
    return processesOfRun(run.runUrl).length === 0 ? true : null;
  });

/** Scenarios; each disturbs nobody but its own run. */
export function operatorScenarios(stack: () => ChaosStack): void {
  describe.concurrent('operators act on a run, and lose nothing by it', () => {
    it('pause saves a checkpoint and stops the job; resume goes on at the very step', LIMIT, async () => {
      const run = await stack().run('pause');
      const release = run.holdAfter(2);
      const job = await run.job();
      await run.committed(2);
      await run.toldToStop(job, () => update(run, 'pause'));
      release();
      await inState(run, 'paused');
      expect(processesOfRun(run.runUrl)).toEqual([]);
      const stopped = await run.outcome(job.epoch);
      expect((await run.head()).commit?.step).toBe(stopped.step);
      await update(run, 'resume');
      await run.completed();
      expect(await run.endings()).toEqual(['cancelled', 'done']);
      expect(await run.flaws()).toEqual([]);
    });

    it('a parked stage is repaired from a checkpoint of the operator’s choice', LIMIT, async () => {
      // A budget of nothing: the first preemption parks.
      const attempts = { preempted: 0 };
      const run = await stack().run('repair', { execution: { ...PARKING.execution, attempts } });
      const job = await run.job();
      await run.committed(5);
      await stack().backend.terminate(job.name, 10);
      const { parked } = await inState(run, 'parked');
      expect(parked).toMatchObject({ folder: CHAOS_STAGE, class: 'preempted' });
      const from = parked?.checkpoints?.[2];
      expect(await update(run, 'retryStage', { from })).toContain(from);
      await run.completed();
      expect(await run.flaws()).toEqual([]);
    });

    it('abort ends the run, its jobs first', LIMIT, async () => {
      const run = await stack().run('abort');
      await run.job();
      await update(run, 'abort');
      expect(await run.failed()).toContain(`aborted by ${who.actor}: ${who.reason}`);
      expect(processesOfRun(run.runUrl)).toEqual([]);
    });

    it('cancel from the UI: the job is gone when the run closes', LIMIT, async () => {
      const run = await stack().run('cancel');
      await run.job();
      await run.handle.cancel();
      await run.failed();
      expect(processesOfRun(run.runUrl)).toEqual([]);
      expect((await run.handle.describe()).status.name).toBe('CANCELLED');
    });

    it('terminate, with a worker there: the job is gone within the heartbeat timeout', LIMIT, async () => {
      const run = await stack().run('terminate');
      await run.job();
      await run.handle.terminate('no longer wanted');
      await jobsGone(run);
    });

    it('an activity paused from the UI saves and stops, and the ledger says so', LIMIT, async () => {
      const run = await stack().run('activity-paused');
      // Its watcher hears of a pause with its next heartbeat: by then, twelve steps may be over.
      const release = run.holdAfter(2);
      const job = await run.job();
      await run.committed(2);
      await run.toldToStop(job, () => pauseActivity(stack(), run, true));
      release();
      await jobsGone(run);
      await pauseActivity(stack(), run, false);
      await run.completed();
      expect(await run.notes()).toContain('the activity was paused from the Temporal UI or its command line');
      expect(await run.flaws()).toEqual([]);
    });
  });

  describe.concurrent('a run reset to an earlier point adopts what is done and fences what runs', () => {
    it('after the stage: the stage is adopted, and nothing runs again', LIMIT, async () => {
      const run = await stack().run('reset-after');
      await run.completed();
      await reset(stack(), run, 'last');
      await run.completed();
      expect(await run.epochs()).toEqual([1]);
      expect((await run.status()).stages.find(({ folder }) => folder === CHAOS_STAGE)?.state).toBe('done');
      expect(await run.flaws()).toEqual([]);
    });

    it('before the stage: its result is adopted', LIMIT, async () => {
      const run = await stack().run('reset-before');
      await run.completed();
      await reset(stack(), run, 'first');
      await run.completed();
      expect(await run.epochs()).toEqual([1]);
      expect((await run.status()).stages.find(({ folder }) => folder === CHAOS_STAGE)?.state).toBe('adopted');
      expect(await run.flaws()).toEqual([]);
    });

    it('during the stage: the job that ran is fenced, and its successor goes on', LIMIT, async () => {
      const run = await stack().run('reset-during');
      const release = run.holdAfter(2);
      const { epoch } = await run.job();
      await run.committed(2);
      await reset(stack(), run, 'first');
      await run.job(epoch);
      release();
      await run.completed();
      const steps = (await run.head()).commit?.step;
      expect(steps).toBe(CHAOS_STEPS);
      expect(await run.flaws()).toEqual([]);
    });

    it('retryStage with force makes a finished stage anew', LIMIT, async () => {
      const run = await stack().run('force', { execution: { ...PARKING.execution, approvals: ['stage-1'] } });
      await inState(run, 'waiting');
      await update(run, 'approve', { stage: 'stage-1' });
      await run.completed();
      // Temporal applies the approval again, and it is known for the one of before.
      await reset(stack(), run, 'first');
      await run.until('the approval that is known again', async () => {
        const { warnings } = await run.status();
        return warnings.some((one) => one.includes('approve was not done again after the reset'))
          ? true
          : null;
      });
      await inState(run, 'waiting');
      await update(run, 'retryStage', { stage: CHAOS_STAGE, force: true });
      await update(run, 'approve', { stage: 'stage-1' });
      await run.completed();
      expect((await run.epochs()).length).toBeGreaterThan(1);
      expect(await run.flaws()).toEqual([]);
    });
  });

  describe('work that is done is not done again', () => {
    it('a run with reuse adopts the stage that another run has computed', LIMIT, async () => {
      const run = await stack().run('reuse', { execution: { ...CHAOS_RECIPE.execution, reuse: true } });
      await run.completed();
      const stage = (await run.status()).stages.find(({ folder }) => folder === CHAOS_STAGE);
      expect(stage).toMatchObject({ state: 'adopted', attempts: 0 });
      expect(stage?.note).toContain('same code, settings and inputs');
      expect(await ask(run.handle, QUERIES.plan)).toContain(`Adopted: ${stage?.title}`);
      expect(await run.epochs()).toEqual([]);
    });
  });

  describe('a terminated run without a worker', () => {
    it('is left by its job within the life of its lease', LIMIT, async () => {
      const execution = { ...CHAOS_RECIPE.execution, leaseSeconds: 10 };
      const stages = {
        'stage-1': { ...CHAOS_RECIPE.stages['stage-1'], steps: 4000 },
        'stage-2': null,
        sft: null,
      };
      const run = await stack().run('lease', { execution, stages });
      await run.job();
      stack().live.killWorkers();
      await run.handle.terminate('no longer wanted');
      await jobsGone(run);
      stack().worker();
    });
  });
}

/** What the UI's button does: pauses or unpauses the activity that watches the attempt. */
async function pauseActivity({ live }: ChaosStack, run: ChaosRun, pause: boolean): Promise<void> {
  const request = {
    namespace: live.config.temporal.namespace,
    execution: { workflowId: `${run.name}/${CHAOS_STAGE}` },
    type: 'runAttempt',
    identity: who.actor,
  };
  const service = live.client.workflowService;
  await (pause
    ? service.pauseActivity({ ...request, reason: who.reason })
    : service.unpauseActivity(request));
}

/** Resets the run to its first or its last completed workflow task, as the UI does. */
async function reset({ live }: ChaosStack, run: ChaosRun, to: 'first' | 'last'): Promise<void> {
  const { events } = await run.handle.fetchHistory();
  const tasks = (events ?? []).filter((one) => Boolean(one.workflowTaskCompletedEventAttributes));
  const event = tasks.at(to === 'first' ? 0 : -1);
  const { runId } = await run.handle.describe();
  await live.client.workflowService.resetWorkflowExecution({
    namespace: live.config.temporal.namespace,
    workflowExecution: { workflowId: run.name, runId },
    workflowTaskFinishEventId: event?.eventId ?? null,
    reason: who.reason,
    requestId: randomUUID(),
  });
}
