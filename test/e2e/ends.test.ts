import type { WorkflowHandle } from '@temporalio/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import { checkChain } from '../../src/domain/ledger/chain.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { rootLayout, runLayout, stageLayout } from '../../src/contracts/layout.js';
import { readChain } from '../../src/store/ledger.js';
import { pendingUploads } from '../../src/store/stale-uploads.js';
import { order } from '../../src/temporal/messages.js';
import { processesOfRun } from '../chaos/support/processes.js';
import { CHAOS_RECIPE, CHAOS_STAGE } from '../chaos/support/recipe.js';
import { LiveStack } from '../support/live-stack.js';

/** The shortest there may be. */
const LEASE_SECONDS = 10;

let live: LiveStack;

beforeAll(async () => {
  live = await LiveStack.start();
});

afterAll(async () => {
  await live.stop();
});

/** A run whose real trainer is at work, with steps left for longer than any test waits. */
class Training {
  private constructor(
    readonly handle: WorkflowHandle,
    readonly runUrl: string,
  ) {}

  static async begin(run: string): Promise<Training> {
    const { stages, execution } = CHAOS_RECIPE;
    const recipe = {
      ...CHAOS_RECIPE,
      stages: { ...stages, 'stage-1': { ...stages['stage-1'], steps: 3000 } },
      execution: { ...execution, leaseSeconds: LEASE_SECONDS },
    };
    const options = { workflowId: run, taskQueue: TASK_QUEUE, args: [recipe] };
    const handle = await live.client.workflow.start(WORKFLOWS.recipe.name, options);
    const training = new Training(handle, rootLayout(live.config.s3.rootUrl).run(run));
    while (!(await training.#hasCommitted())) {
      const { status } = await handle.describe();
      if (status.name !== 'RUNNING') await handle.result();
      await sleep(100);
    }
    return training;
  }

  get stageUrl(): string {
    return runLayout(this.runUrl).stage(CHAOS_STAGE);
  }

  async #hasCommitted(): Promise<boolean> {
    return (await live.store.folders(stageLayout(this.stageUrl).checkpoints)).length > 1;
  }

  /** Waits until no process works for the run any more. */
  async gone(): Promise<void> {
    while (processesOfRun(this.runUrl).length > 0) await sleep(50);
  }

  /** What the ledger says of the run's end, and of the ends of its attempts. */
  async recorded(): Promise<{ readonly run: LedgerEntry[]; readonly attempts: LedgerEntry[] }> {
    const entries = async (chainUrl: string, type: LedgerEntry['type']) => {
      const { links, problems } = checkChain(await readChain(live.store, chainUrl));
      expect(problems).toEqual([]);
      return links.flatMap(({ record }) => (record?.entry.type === type ? [record.entry] : []));
    };
    return {
      run: await entries(runLayout(this.runUrl).ledger, 'run-ended'),
      attempts: await entries(stageLayout(this.stageUrl).ledger, 'attempt-ended'),
    };
  }

  async uploadsLeft(): Promise<string[]> {
    const left: string[] = [];
    for await (const { url } of pendingUploads(live.store, this.runUrl)) left.push(url);
    return left;
  }
}

const over = (handle: WorkflowHandle) => handle.result().catch(() => undefined);

describe('a run that is ended leaves no job behind', () => {
  it('cancelled: the job has saved and is gone when the run closes', async () => {
    live.worker();
    const run = await Training.begin('cancelled');
    await run.handle.cancel();
    await over(run.handle);
    expect(processesOfRun(run.runUrl)).toEqual([]);
    const { run: ends, attempts } = await run.recorded();
    expect(ends).toMatchObject([{ state: 'cancelled' }]);
    expect(attempts).toMatchObject([{ epoch: 1, class: 'cancelled' }]);
    expect(await run.uploadsLeft()).toEqual([]);
  });

  it('aborted by an operator: the same, and the ledger says who and why', async () => {
    const run = await Training.begin('aborted');
    await order(run.handle, 'abort', { actor: 'kim', reason: 'wrong data' });
    await over(run.handle);
    expect(processesOfRun(run.runUrl)).toEqual([]);
    const { run: ends } = await run.recorded();
    expect(JSON.stringify(ends)).toContain('aborted by kim: wrong data');
    expect(await run.uploadsLeft()).toEqual([]);
  });

  it('terminated while a worker is up: gone, as soon as the worker’s next heartbeat is refused', async () => {
    const run = await Training.begin('terminated');
    await run.handle.terminate('the budget is spent');
    await run.gone();
    while ((await run.recorded()).attempts.length === 0) await sleep(100);
    expect((await run.recorded()).attempts).toMatchObject([{ epoch: 1 }]);
  });

  it('terminated while no worker is up: gone when its lease has run out, and recorded by the next worker’s janitor', async () => {
    const run = await Training.begin('terminated-alone');
    live.killWorkers();
    await run.handle.terminate('the budget is spent');
    await run.gone();
    expect((await run.recorded()).attempts).toEqual([]);
    live.worker();
    while ((await run.recorded()).run.length === 0) await sleep(200);
    const { run: ends, attempts } = await run.recorded();
    expect(attempts).toMatchObject([{ epoch: 1, class: 'cancelled' }]);
    expect(ends).toMatchObject([
      { state: 'terminated', why: expect.stringContaining('the budget is spent') as string },
    ]);
    expect(await run.uploadsLeft()).toEqual([]);
  });
});
