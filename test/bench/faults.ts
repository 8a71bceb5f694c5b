/**
 * 100 random faults over one tiny recipe: the same bits, every sample once, a ledger that verifies, and nothing left behind.
 *
 *     npx tsx test/bench/faults.ts [FAULTS] [SEED]        (default 100 and a random seed, which is printed)
 *
 * Method: `longhaul drill` itself on the real stack: one `strict` stage of four steps per fault that commits at every step,
 * run undisturbed and again while faults of all kinds strike: preemption with grace, SIGKILL of the job, a freeze, SIGKILL and
 * SIGTERM of the worker. Kinds and moments follow from the seed. Passes only if all faults struck and every check of
 * the drill passed; also looks for processes of the run that are still there.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkflowFailedError } from '@temporalio/client';
import type { ChildProcess } from 'node:child_process';
import { LocalBackend } from '../../src/backends/local/local.js';
import { parseRecipe } from '../../src/domain/recipe/parse.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { drill } from '../../src/drill/drill.js';
import type { ExecutedRun } from '../../src/drill/drill.js';
import { drillText } from '../../src/drill/report.js';
import { FAULT_KINDS } from '../../src/drill/schedule.js';
import { rootLayout } from '../../src/contracts/layout.js';
import { processesOfRun } from '../chaos/support/processes.js';
import { CHAOS_RECIPE } from '../chaos/support/recipe.js';
import { LiveStack } from '../support/live-stack.js';
import { loadText } from './support/figures.js';

const faults = Number(process.argv[2] ?? 100);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));
const STEPS_PER_FAULT = 4;

const { stages } = CHAOS_RECIPE;
const input = {
  ...CHAOS_RECIPE,
  stages: { ...stages, 'stage-1': { ...stages['stage-1'], steps: STEPS_PER_FAULT * faults } },
};
const parsed = parseRecipe(input);
if (!parsed.ok) throw new Error('the recipe is not valid');

const live = await LiveStack.start();
const start = (): ChildProcess => live.worker({ LONGHAUL_ON_SHUTDOWN: 'detach' });
let worker = start();

async function restart(how: 'kill' | 'drain'): Promise<void> {
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  worker.kill(how === 'kill' ? 'SIGKILL' : 'SIGTERM');
  await exited;
  worker = start();
}

async function execute(run: string): Promise<ExecutedRun> {
  const handle = await live.client.workflow.start(WORKFLOWS.recipe.name, {
    workflowId: run,
    taskQueue: TASK_QUEUE,
    args: [input],
  });
  try {
    await handle.result();
    return { completed: true };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    return { completed: false, problem: `${error.message}: ${error.cause?.message ?? ''}` };
  }
}

try {
  console.log(`seed ${seed}`);
  const report = await drill(
    {
      store: live.store,
      backend: new LocalBackend(join(live.config.dataDir, 'jobs')),
      worker: { restart },
      rootUrl: live.config.s3.rootUrl,
      execute,
      note: (line) => console.log(line),
    },
    { name: 'faults', recipe: parsed.recipe, seed, faults, kinds: FAULT_KINDS },
  );
  const left = processesOfRun(rootLayout(live.config.s3.rootUrl).run(report.disturbedRun));
  console.log(`\n${drillText(report)}\nProcesses left: ${left.length}; ${loadText()}`);
  const passed = report.passed && report.faults.length === faults && left.length === 0;
  console.log(passed ? `${faults} faults: passed` : `${report.faults.length} of ${faults} faults: FAILED`);
  if (process.argv[4] !== undefined) await writeFile(process.argv[4], JSON.stringify(report, null, 1));
  process.exitCode = passed ? 0 : 1;
} finally {
  await live.stop();
}
