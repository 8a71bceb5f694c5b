/** `longhaul start`: starts a run and follows it. */
import type { Command } from 'commander';
import { PRESETS } from '../../domain/recipe/presets/index.js';
import { withClient } from '../client.js';
import { cliConfig } from '../environment.js';
import { workflowLink } from '../links.js';
import { readRecipe } from '../recipe-input.js';
import { newRunName, startRun } from '../start-run.js';
import { watchToTheEnd } from './watch.js';

interface StartOptions {
  readonly preset?: string;
  readonly run?: string;
  readonly follow: boolean;
}

/** Adds the command. */
export function addStartCommand(program: Command): void {
  program
    .command('start')
    .description('Start a run of a recipe and follow it; Ctrl-C leaves the run going')
    .argument('[recipe]', 'JSON file with a recipe; none means {}')
    .option('-p, --preset <name>', `preset to start from: ${Object.keys(PRESETS).join(', ')}`)
    .option('-r, --run <name>', 'name of the run (the workflow id)')
    .option('--no-follow', 'return once the run has started')
    .action(start);
}

async function start(file: string | undefined, options: StartOptions): Promise<void> {
  const given = await readRecipe({ file, preset: options.preset });
  const config = await cliConfig();
  process.exitCode = await withClient(config, async (client) => {
    const name = options.run ?? newRunName(given.recipe.name, new Date());
    const { run, runId } = await startRun(client, name, given);
    console.log(`Run      ${run}\nUI       ${workflowLink(config, run, runId)}`);
    return options.follow ? watchToTheEnd(config, client, run) : 0;
  });
}
