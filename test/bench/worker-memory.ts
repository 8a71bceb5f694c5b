/**
 * Resident memory of a worker: `npx tsx test/bench/worker-memory.ts [runs]` (target: under 300 MB).
 *
 * Method: a worker process on an embedded stack of its own runs the smoke variant of the tiny recipe, curation included, `runs`
 * times (default 3), each under another name and seed, so that nothing is adopted. Its resident set is read every 200 ms
 * from /proc (Linux). The workflow bundle is built before, as it is on a machine that has started once. Prints idle and most.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TINY_SMOKE } from '../../src/domain/presets.js';
import { TASK_QUEUE } from '../../src/domain/task-queues.js';
import { LiveStack } from '../support/live-stack.js';

const EVERY_MS = 200;
const SETTLED_MS = 5000;

function residentMegabytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kibibytes === undefined) throw new Error(`process ${pid} is gone`);
  return Math.round((Number(kibibytes) * 1024) / 1e6);
}

/** Idle and largest resident set of a worker while it takes `recipes` one after the other, MB. */
async function measure(live: LiveStack, recipes: readonly object[]): Promise<{ idle: number; most: number }> {
  const { pid } = live.worker();
  if (pid === undefined) throw new Error('no worker was started');
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, residentMegabytes(pid))), EVERY_MS);
  try {
    await sleep(SETTLED_MS);
    const idle = residentMegabytes(pid);
    for (const [index, recipe] of recipes.entries()) {
      const workflowId = `memory-${recipes.length}-${index}`;
      await live.client.workflow.execute('recipe', { workflowId, taskQueue: TASK_QUEUE, args: [recipe] });
    }
    return { idle, most };
  } finally {
    clearInterval(watch);
    live.killWorkers();
  }
}

const runs = Number(process.argv[2] ?? 3);
const live = await LiveStack.start();
try {
  await measure(live, []);
  const recipes = Array.from({ length: runs }, (_, index) => ({ ...TINY_SMOKE, seed: index }));
  const { idle, most } = await measure(live, recipes);
  console.log(`worker: ${idle} MB idle, at most ${most} MB in ${runs} runs with curation`);
} finally {
  await live.stop();
}
