/** A worker that belongs to a drill, which may end it and start another. */
import type { ChildProcess } from 'node:child_process';
import type { DrillWorker } from '../drill/inject.js';
import { spawnWorker } from './worker-process.js';

/** Starts a worker beside this process, with this process's environment. */
export class OwnWorker implements DrillWorker {
  #worker = start();

  /** Ends the worker and starts another. Its jobs run on. */
  async restart(how: 'kill' | 'drain'): Promise<void> {
    await end(this.#worker, how === 'kill' ? 'SIGKILL' : 'SIGTERM');
    this.#worker = start();
  }

  /** Ends the worker. */
  async stop(): Promise<void> {
    await end(this.#worker, 'SIGTERM');
  }
}

function start(): ChildProcess {
  return spawnWorker({
    stdout: 'ignore',
    stderr: 'inherit',
    // Another worker goes on with its jobs at once.
    env: { ...process.env, LONGHAUL_ON_SHUTDOWN: 'detach', LONGHAUL_LOG_LEVEL: 'error' },
    detached: true,
  });
}

async function end(worker: ChildProcess, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  worker.kill(signal);
  await exited;
}
