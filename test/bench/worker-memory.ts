/**
 * Resident memory of a worker: `npx tsx test/bench/worker-memory.ts [smoke|tiny] [runs]` (target: under 300 MB).
 *
 * Method: a worker process on an embedded stack of its own runs the tiny recipe (`tiny`, some minutes a run) or its smoke variant
 * (`smoke`, the default) `runs` times (default 1), each under another name and seed, so that nothing is adopted. Prints its
 * resident set when it has nothing to do, and the most that it was by the kernel's own account (VmHWM of /proc, Linux), its own
 * start included; beside it the most that any of the processes was in which it curates, read every 100 ms. The workflow
 * bundle is built before, in a process of its own, as it is on a machine that has started once.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { LiveStack } from '../support/live-stack.js';

const EVERY_MS = 100;
const SETTLED_MS = 5000;

const RECIPES = { smoke: TINY_SMOKE, tiny: { preset: 'tiny' } };

/** A figure of /proc/<pid>/status in MB; undefined: the process is gone. */
function megabytes(pid: number | string, figure: 'VmRSS' | 'VmHWM'): number | undefined {
  const kibibytes = new RegExp(`^${figure}:\\s+(\\d+) kB$`, 'm').exec(read(`/proc/${pid}/status`))?.[1];
  return kibibytes === undefined ? undefined : Math.round((Number(kibibytes) * 1024) / 1e6);
}

/** Largest of the processes that curate now, MB. */
function curationMegabytes(): number {
  const curating = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => read(`/proc/${name}/cmdline`).includes('src/curation/process/main.ts'));
  return Math.max(0, ...curating.map((pid) => megabytes(pid, 'VmHWM') ?? 0));
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

interface Memory {
  readonly idle: number | undefined;
  readonly most: number | undefined;
  readonly curation: number;
}

/** Memory of a worker that takes `recipes` one after the other, MB. */
async function measure(live: LiveStack, recipes: readonly object[]): Promise<Memory> {
  const { pid } = live.worker();
  if (pid === undefined) throw new Error('no worker was started');
  let curation = 0;
  const watch = setInterval(() => (curation = Math.max(curation, curationMegabytes())), EVERY_MS);
  try {
    await sleep(SETTLED_MS);
    const idle = megabytes(pid, 'VmRSS');
    for (const [index, recipe] of recipes.entries()) {
      const workflowId = `memory-${recipes.length}-${index}`;
      await live.client.workflow.execute(WORKFLOWS.recipe.name, {
        workflowId,
        taskQueue: TASK_QUEUE,
        args: [recipe],
      });
    }
    return { idle, most: megabytes(pid, 'VmHWM'), curation };
  } finally {
    clearInterval(watch);
    live.killWorkers();
  }
}

const [name = 'smoke', runs = '1'] = process.argv.slice(2);
if (name !== 'smoke' && name !== 'tiny') throw new Error('smoke or tiny?');
const live = await LiveStack.start();
try {
  await measure(live, []);
  const recipes = Array.from({ length: Number(runs) }, (_, seed) => ({
    ...RECIPES[name],
    seed,
    execution: { onFailure: 'fail' },
  }));
  const { idle, most, curation } = await measure(live, recipes);
  console.log(`worker: ${idle} MB idle, at most ${most} MB in ${runs} of ${name}`);
  console.log(`a curation process: at most ${curation} MB; load average ${loadavg()[0]?.toFixed(1)}`);
} finally {
  await live.stop();
}
