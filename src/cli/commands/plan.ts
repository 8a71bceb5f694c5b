/** `longhaul plan`: what a recipe comes to, before anything runs. Needs no server. */
import type { Command } from 'commander';
import { formatPlan, plan } from '../../domain/plan/plan.js';
import { PRESETS } from '../../domain/recipe/presets/index.js';
import { readRecipe } from '../recipe-input.js';

/** Adds the command. */
export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .description('Print what a recipe comes to: steps, tokens, FLOPs, hours, cost and checkpoints')
    .argument('[recipe]', 'JSON file with a recipe; none means {}')
    .option('-p, --preset <name>', `preset to start from: ${Object.keys(PRESETS).join(', ')}`)
    .option('--json', 'print the plan as JSON')
    .action(async (file: string | undefined, options: { preset?: string; json?: true }) => {
      const { recipe } = await readRecipe({ file, preset: options.preset });
      const result = plan(recipe);
      console.log(options.json === true ? JSON.stringify(result, null, 2) : formatPlan(result));
    });
}
