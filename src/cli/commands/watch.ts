/** `longhaul watch`: follows a run to its end. */
import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { Config } from '../../config.js';
import { withClient } from '../client.js';
import { cliConfig, ROOT } from '../environment.js';
import { followRun } from '../follow.js';
import { printRunEnd } from '../run-end.js';
import { createRunView } from '../run-view.js';

/** Adds the command. */
export function addWatchCommand(program: Command): void {
  program
    .command('watch')
    .description('Follow a run; Ctrl-C leaves it going. Exit code 0 only if it completes')
    .argument('<run>', 'name of the run')
    .action(async (run: string) => {
      const config = await cliConfig();
      process.exitCode = await withClient(config, (client) => watchToTheEnd(config, client, run));
    });
}

/** Shows a run until it ends or Ctrl-C, and returns the exit code. */
export async function watchToTheEnd(config: Config, client: Client, run: string): Promise<number> {
  const leave = new AbortController();
  const onSignal = (): void => leave.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const end = await followRun(client, run, createRunView(), leave.signal);
    const write = (line: string): void => console.log(line);
    return await printRunEnd({ config, run, end, root: ROOT, write });
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
