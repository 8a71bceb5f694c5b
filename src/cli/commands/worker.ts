/** `longhaul worker`: runs a worker in the foreground until it is told to end. */
import type { Command } from 'commander';
import { cliConfig } from '../environment.js';
import { spawnWorker } from '../worker-process.js';

/** Adds the command. */
export function addWorkerCommand(program: Command): void {
  program
    .command('worker')
    .description('Run a worker; Ctrl-C lets it hand over what it does and ends it')
    .action(async () => {
      await cliConfig();
      const worker = spawnWorker({ stdout: 'inherit', stderr: 'inherit', env: process.env });
      // A terminal sends Ctrl-C to the worker too; this process only waits for it. SIGTERM comes here alone.
      process.on('SIGINT', () => undefined);
      process.on('SIGTERM', () => worker.kill('SIGTERM'));
      process.exitCode = await new Promise<number>((resolve) => {
        worker.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 1));
        worker.once('error', () => resolve(1));
      });
    });
}
