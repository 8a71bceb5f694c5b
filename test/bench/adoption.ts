/**
 * From a worker's death to the adoption of its job by another: one heartbeat timeout is promised.
 *
 *     npx tsx test/bench/adoption.ts [KILLS]        (default 7)
 *
 * Method: the real stack, two workers, one long stage. The worker that watches the job is killed with SIGKILL; adoption is when
 * Temporal has given the attempt to the other worker (`lastStartedTime` of the pending activity). The same with SIGTERM, a
 * drain. All clocks are this machine's. A dead worker is missed once its last heartbeat is one timeout old, so the
 * time depends on when that was: up to the timeout, and at least a fifth of it, the SDK sending heartbeats every four fifths.
 * The job itself goes on meanwhile, and is not launched again: that is checked.
 */
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { ChaosRun } from '../chaos/support/chaos-run.js';
import { ChaosStack } from '../chaos/support/chaos-stack.js';
import { CHAOS_RECIPE, CHAOS_STAGE } from '../chaos/support/recipe.js';
import { loadText, spread } from './support/figures.js';

const kills = Number(process.argv[2] ?? 7);

const pendingSchema = z.looseObject({
  attempt: z.number(),
  lastWorkerIdentity: z.string(),
  lastStartedTime: z.looseObject({ seconds: z.unknown(), nanos: z.number().nullish() }).nullish(),
});

/** Who watches the job, since when (milliseconds), and as which try. */
interface Watch {
  readonly attempt: number;
  readonly pid: number;
  readonly since: number;
}

const stack = await ChaosStack.start();
let started = 0;
try {
  await untilReady();
  stack.live.killWorkers();
  const workers = new Map<number, ChildProcess>();
  const add = (): void => {
    started += 1;
    const worker = stack.worker();
    if (worker.pid !== undefined) workers.set(worker.pid, worker);
  };
  add();
  add();
  await untilReady();
  const { stages } = CHAOS_RECIPE;
  const run = await stack.run('adoption', {
    stages: { ...stages, 'stage-1': { ...stages['stage-1'], steps: 4000 } },
  });
  const { name } = await run.job();
  await run.committed(1);
  for (const how of ['SIGKILL', 'SIGTERM'] as const) {
    const milliseconds: number[] = [];
    for (let kill = 0; kill < kills; kill += 1) {
      const before = await watchOf(run, 0);
      const worker = workers.get(before.pid);
      if (worker === undefined) throw new Error(`worker ${before.pid} is not one of ours`);
      await sleep(Math.random() * 5000);
      const died = Date.now();
      worker.kill(how);
      workers.delete(before.pid);
      milliseconds.push((await watchOf(run, before.attempt)).since - died);
      add();
      await untilReady();
    }
    console.log(`${how}: ${spread(milliseconds, 'ms')}, ${kills} times; ${loadText()}`);
  }
  const { state } = await stack.backend.observe(name);
  const epochs = await run.epochs();
  console.log(`the job is ${state}; attempts: ${epochs.length}`);
  if (state !== 'running' || epochs.length !== 1) process.exitCode = 1;
  await run.handle.terminate('the benchmark is over');
  await stack.backend.terminate(name, 0);
} finally {
  await stack.stop();
}

/** Waits until every worker started so far has said that it is ready. The stack has started one itself. */
async function untilReady(): Promise<void> {
  while ((await stack.live.log()).split('worker is ready').length - 1 < started + 1) await sleep(50);
}

/** The watch of a later try than `after`, once there is one. Workers are named "<pid>@<host>". */
async function watchOf(run: ChaosRun, after: number): Promise<Watch> {
  const handle = stack.live.client.workflow.getHandle(`${run.name}/${CHAOS_STAGE}`);
  for (;;) {
    const { raw } = await handle.describe();
    const pending = pendingSchema.safeParse(raw.pendingActivities?.[0]);
    if (pending.success && pending.data.attempt > after && pending.data.lastStartedTime) {
      const { attempt, lastWorkerIdentity, lastStartedTime } = pending.data;
      const since = Number(lastStartedTime.seconds) * 1000 + (lastStartedTime.nanos ?? 0) / 1e6;
      return { attempt, pid: Number.parseInt(lastWorkerIdentity, 10), since };
    }
    await sleep(20);
  }
}
