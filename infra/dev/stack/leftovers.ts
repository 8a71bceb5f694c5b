/** What runs on for a stack whose starter has ended: workers, shims, and jobs. Without their servers they work for nobody. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LocalBackend } from '../../../src/backends/local/local.js';
import { isShimOf } from '../../../src/backends/local/shims.js';
import { isWorkerOf } from '../../../src/cli/worker-process.js';
import { processTable } from './process-table.js';
import { identify, stopProcess } from './server-process.js';

/** Long enough for a worker to save and stop its jobs; one that is killed leaves them, and another worker finds them. */
const WORKER_SECONDS = 60;
const LOOK_MS = 50;

/** Ends workers of a stack that nobody waits for any more. `onEach` is told the process id of each. */
export async function endWorkers(dataDir: string, onEach: (pid: number) => void): Promise<void> {
  await endProcesses((command) => isWorkerOf(command, dataDir), WORKER_SECONDS, onEach);
}

/** Ends jobs that run yet: they may save for so long, and are killed then. Their shims end with them. */
export async function endJobs(dataDir: string, graceSeconds: number): Promise<void> {
  const folder = path.join(dataDir, 'jobs');
  const backend = new LocalBackend(folder);
  const running = async (): Promise<readonly string[]> => {
    const names = await backend.list();
    const states = await Promise.all(names.map((name) => stateOf(backend, name)));
    return names.filter((_name, index) => states[index] === 'running');
  };
  const told = await running();
  for (const name of told) await backend.terminate(name, graceSeconds);
  const deadline = performance.now() + graceSeconds * 1000;
  while (told.length > 0 && performance.now() < deadline && (await running()).length > 0)
    await sleep(LOOK_MS);
  for (const name of await running()) await backend.terminate(name, 0);
  await endProcesses(
    (command) => isShimOf(command, folder),
    graceSeconds,
    () => undefined,
  );
}

/** A job whose files can't be read is nobody's to end. */
async function stateOf(backend: LocalBackend, name: string): Promise<string> {
  return backend.observe(name).then(({ state }) => state, String);
}

async function endProcesses(
  isMeant: (command: string) => boolean,
  graceSeconds: number,
  onEach: (pid: number) => void,
): Promise<void> {
  const found = (await processTable()).filter(({ command }) => isMeant(command));
  await Promise.all(
    found.map(async ({ pid }) => {
      const identity = await identify(pid);
      if (identity === undefined) return;
      onEach(pid);
      await stopProcess(identity, graceSeconds);
    }),
  );
}
