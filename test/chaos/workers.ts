/** What happens to the control plane: workers are killed, frozen and drained, the Temporal server dies, people start over. */
import { Client, Connection, WorkflowFailedError } from '@temporalio/client';
import type { ChildProcess } from 'node:child_process';
import { msToTs } from '@temporalio/common/lib/time.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { registerSearchAttributes } from '../../infra/dev/stack/temporal.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { startLyingS3 } from '../support/lying-s3.js';
import { RUNS_MS, TEST_MS } from '../support/patience.js';
import type { ChaosStack } from './support/chaos-stack.js';
import { messagesOf } from './support/chaos-run.js';
import { fullMachine } from './support/full-machine.js';
import type { Resource } from './support/full-machine.js';
import { CHAOS_RECIPE, CHAOS_STEPS } from './support/recipe.js';

const LIMIT = { timeout: TEST_MS };
/** Failed attempts are repeated after waits. */
const PATIENT = { timeout: RUNS_MS };
/** Longer than the heartbeat timeout of a watched attempt. */
const MISSED_MS = 7000;

/** Scenarios; they disturb everybody, so they run one after the other. */
export function workerScenarios(stack: () => ChaosStack): void {
  describe('a job outlives those who watch it', () => {
    it('SIGKILL of the worker in every phase: one attempt, adopted each time', LIMIT, async () => {
      const run = await stack().run('worker-killed');
      const phases: readonly (() => Promise<unknown>)[] = [
        () => sleep(50),
        () => run.head(),
        () => run.committed(3),
        () => run.committed(CHAOS_STEPS),
      ];
      for (const reached of phases) {
        await reached();
        stack().live.killWorkers();
        stack().worker();
      }
      await run.completed();
      expect(await run.epochs()).toEqual([1]);
      expect(await run.flaws()).toEqual([]);
    });

    it(
      'two workers, one of which was frozen and comes back: one attempt, one record of its end',
      LIMIT,
      async () => {
        stack().live.killWorkers();
        const frozen = stack().worker();
        const run = await stack().run('worker-frozen');
        const job = await run.job();
        await run.committed(2);
        // The job stands still meanwhile, so that it is there when both workers are.
        await stack().backend.signal(job.name, 'SIGSTOP');
        signal(frozen, 'SIGSTOP');
        stack().worker();
        await sleep(MISSED_MS);
        signal(frozen, 'SIGCONT');
        await stack().backend.signal(job.name, 'SIGCONT');
        await run.completed();
        expect(await run.endings()).toEqual(['done']);
        expect(await run.epochs()).toEqual([1]);
        expect(await run.flaws()).toEqual([]);
        signal(frozen, 'SIGKILL');
      },
    );

    it('SIGTERM of the worker, with another one there: handed over, and not interrupted', LIMIT, async () => {
      stack().live.killWorkers();
      const drained = stack().worker();
      const run = await stack().run('worker-drained');
      await run.committed(2);
      stack().worker();
      signal(drained, 'SIGTERM');
      await run.completed();
      expect(await run.epochs()).toEqual([1]);
      expect(await run.flaws()).toEqual([]);
    });

    it('SIGKILL of the Temporal server, back after two seconds: the job trains on', LIMIT, async () => {
      const run = await stack().run('temporal-killed');
      await run.committed(2);
      await stack().restartTemporal(2000);
      await run.completed();
      expect(await run.epochs()).toEqual([1]);
      expect(await run.flaws()).toEqual([]);
    });
  });

  describe('starting over while a job still runs leaves one writer', () => {
    it('the main process is killed and the run terminated and started again', LIMIT, async () => {
      const run = await stack().run('started-over');
      const before = await run.job();
      await run.committed(2);
      // It stands still until its successor runs beside it.
      await stack().backend.signal(before.name, 'SIGSTOP');
      stack().live.killWorkers();
      await run.handle.terminate('the operator starts over');
      await run.start(CHAOS_RECIPE);
      stack().worker();
      await run.job(before.epoch);
      await stack().backend.signal(before.name, 'SIGCONT');
      await run.completed();
      // It finds itself fenced, or the janitor has stopped it before: whatever came first.
      const ends = await run.until('the ends of both attempts', async () => {
        const endings = await run.endings();
        return endings.length === 2 ? endings : null;
      });
      expect(ends.filter((end) => end !== 'done')).toEqual([expect.stringMatching(/^(fenced|cancelled)$/)]);
      expect(await run.flaws()).toEqual([]);
    });
  });

  describe('a trainer whose machine is full', () => {
    const told: Readonly<Record<Resource, object>> = {
      disk: {
        class: 'infrastructure',
        message: expect.stringContaining('No space left on device') as string,
      },
      memory: { class: 'out-of-memory' },
    };
    for (const resource of ['disk', 'memory'] as const)
      it(
        `says so of its ${resource}, and is tried again: with room, the run goes on to the same weights`,
        PATIENT,
        async () => {
          stack().live.killWorkers();
          const machine = await fullMachine(stack().live.config.trainerPython, resource);
          const worker = stack().worker(machine.environment);
          const run = await stack().run(`full-${resource}`);
          const { epoch } = await run.head().then(() => run.job());
          expect(await run.outcome(epoch)).toMatchObject({ result: 'ended', ...told[resource] });
          await machine.free();
          await run.completed();
          expect((await run.endings()).at(-1)).toBe('done');
          expect(await run.flaws()).toEqual([]);
          signal(worker, 'SIGKILL');
          stack().worker();
          await machine.remove();
        },
      );
  });

  describe('one prefix, two namespaces of Temporal', () => {
    it(
      'a run of the same name in another namespace is refused, and the first is not disturbed',
      LIMIT,
      async () => {
        const { config, stack: servers } = stack().live;
        const connection = await Connection.connect({ address: servers.temporalAddress });
        const namespace = 'elsewhere';
        await connection.workflowService.registerNamespace({
          namespace,
          workflowExecutionRetentionPeriod: msToTs('1 day'),
        });
        await registerSearchAttributes(connection, namespace);
        const run = await stack().run('namespaces');
        await run.committed(2);
        const worker = stack().worker({ LONGHAUL_TEMPORAL_NAMESPACE: namespace });
        const other = new Client({ connection, namespace });
        const started = await other.workflow.start(WORKFLOWS.recipe.name, {
          workflowId: run.name,
          taskQueue: TASK_QUEUE,
          args: [CHAOS_RECIPE],
        });
        const error: unknown = await started.result().catch((reason: unknown) => reason);
        expect(error instanceof WorkflowFailedError && messagesOf(error)).toContain(
          `its Temporal namespace is ${config.temporal.namespace}, not ${namespace}`,
        );
        await run.completed();
        expect(await run.epochs()).toEqual([1]);
        expect(await run.flaws()).toEqual([]);
        signal(worker, 'SIGKILL');
        await connection.close();
      },
    );
  });

  describe('a store that cannot be worked with is refused before anything is launched', () => {
    it('wrong credentials: a sentence that says so', LIMIT, async () => {
      stack().live.killWorkers();
      const wrong = stack().worker({ AWS_SECRET_ACCESS_KEY: 'not-the-secret-of-this-store' });
      const run = await stack().run('wrong-credentials');
      expect(await run.failed()).toContain('credentials');
      signal(wrong, 'SIGKILL');
      stack().worker();
    });

    it('conditional writes that do not hold: two writers could both win', LIMIT, async () => {
      stack().live.killWorkers();
      const lying = await startLyingS3('checks-then-writes');
      const worker = stack().worker({ LONGHAUL_S3_ENDPOINT: lying.endpoint });
      const run = await stack().run('lying-store');
      expect(await run.failed()).toMatch(/conditional write/i);
      signal(worker, 'SIGKILL');
      await lying.stop();
      stack().worker();
    });
  });
}

function signal(worker: ChildProcess, name: NodeJS.Signals): void {
  worker.kill(name);
}
