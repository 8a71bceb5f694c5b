/** `longhaul drill`: proves that a recipe comes to the same bits however often it is interrupted. */
import type { Client } from '@temporalio/client';
import { Option } from 'commander';
import type { Command } from 'commander';
import { join } from 'node:path';
import { LocalBackend } from '../../backends/local/local.js';
import type { Config } from '../../config.js';
import { isObject } from '../../domain/lib/json.js';
import { PRESETS } from '../../domain/recipe/presets/index.js';
import { drill } from '../../drill/drill.js';
import type { DrillDependencies, ExecutedRun } from '../../drill/drill.js';
import { possibleKinds } from '../../drill/inject.js';
import { drillText } from '../../drill/report.js';
import { FAULT_KINDS } from '../../drill/schedule.js';
import type { FaultKind } from '../../drill/schedule.js';
import { rootLayout, runLayout } from '../../contracts/layout.js';
import { ObjectStore } from '../../store/object-store.js';
import { withClient } from '../client.js';
import { OwnWorker } from '../own-worker.js';
import { cliConfig } from '../environment.js';
import { followRun } from '../follow.js';
import { readRecipe, resolveRecipe } from '../recipe-input.js';
import type { GivenRecipe } from '../recipe-input.js';
import { newRunName, startRun } from '../start-run.js';
import { UserError } from '../user-error.js';

interface DrillCommandOptions {
  readonly preset?: string;
  readonly name?: string;
  readonly seed: number;
  readonly faults: number;
  readonly kinds: readonly FaultKind[];
  readonly ownWorker?: true;
}

const DEFAULT_FAULTS = 8;

/** Adds the command. */
export function addDrillCommand(program: Command): void {
  program
    .command('drill')
    .description(
      'Run a recipe undisturbed and again under faults, and compare bits. Exit code 0 only if equal',
    )
    .argument('[recipe]', 'JSON file with a recipe; none means {}')
    .option('-p, --preset <name>', `preset to start from: ${Object.keys(PRESETS).join(', ')}`)
    .option('-n, --name <name>', 'beginning of both runs’ names')
    .addOption(
      new Option('-s, --seed <number>', 'seed of the faults; a random one is drawn and printed otherwise')
        .argParser(wholeNumber)
        .default(Math.floor(Math.random() * 2 ** 32), 'random'),
    )
    .option('-f, --faults <number>', 'how many faults', wholeNumber, DEFAULT_FAULTS)
    .addOption(
      new Option('-k, --kinds <list>', `kinds of faults: ${FAULT_KINDS.join(',')}`)
        .argParser(faultKinds)
        .default(FAULT_KINDS, 'all that are possible'),
    )
    .option('--own-worker', 'start a worker, and kill, drain and restart it as part of the drill')
    .action(runDrill);
}

async function runDrill(file: string | undefined, options: DrillCommandOptions): Promise<void> {
  const given = drillable(await readRecipe({ file, preset: options.preset }));
  const config = await cliConfig();
  const backend = new LocalBackend(join(config.dataDir, 'jobs'));
  const worker = options.ownWorker === true ? new OwnWorker() : null;
  if (possibleKinds({ backend, worker }, options.kinds).length === 0)
    throw new UserError(
      `--kinds: ${options.kinds.join(' and ')} can’t be brought about without --own-worker.`,
    );
  const store = ObjectStore.connect(config.s3);
  try {
    process.exitCode = await withClient(config, (client) =>
      drillAndPrint(client, config, { store, backend, worker }, given, options),
    );
  } finally {
    await worker?.stop();
    store.close();
  }
}

/**
 * What both runs run: the recipe, but that a stage which gives up ends its run instead of waiting for a person, and that the
 * second run computes everything again instead of adopting what the first one has.
 */
function drillable({ input }: GivenRecipe): GivenRecipe {
  const execution = isObject(input['execution']) ? input['execution'] : {};
  const given = resolveRecipe({ ...input, execution: { ...execution, onFailure: 'fail', reuse: false } });
  if (given.recipe.runtime.strict) return given;
  throw new UserError(
    'runtime.strict is false in this recipe, and without it no two runs have the same bits: set it to true.',
  );
}

async function drillAndPrint(
  client: Client,
  config: Config,
  targets: Pick<DrillDependencies, 'store' | 'backend' | 'worker'>,
  given: GivenRecipe,
  options: DrillCommandOptions,
): Promise<number> {
  const { recipe } = given;
  const report = await drill(
    {
      ...targets,
      rootUrl: config.s3.rootUrl,
      execute: (run) => execute(client, run, given),
      note: (line) => console.log(line),
    },
    { ...options, recipe, name: options.name ?? newRunName(`drill-${recipe.name}`, new Date()) },
  );
  const runUrl = rootLayout(recipe.store?.url ?? config.s3.rootUrl).run(report.disturbedRun);
  console.log(`\n${drillText(report)}\nReport  ${runLayout(runUrl).drill}`);
  return report.passed ? 0 : 1;
}

/** Runs the recipe to its end. Ctrl-C cancels the run. */
async function execute(client: Client, run: string, given: GivenRecipe): Promise<ExecutedRun> {
  const leave = new AbortController();
  const onSignal = (): void => leave.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    await startRun(client, run, given);
    const end = await followRun(client, run, { show: () => undefined, close: () => undefined }, leave.signal);
    switch (end.state) {
      case 'completed':
        return { completed: true };
      case 'failed':
      case 'cancelled':
        return { completed: false, problem: `${end.state}: ${end.problems.join('; ')}` };
      case 'left':
        await client.workflow.getHandle(run).cancel();
        throw new UserError(`The drill was interrupted; ${run} is cancelled.`);
    }
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new UserError(`${JSON.stringify(text)} is not a whole number.`);
}

function faultKinds(text: string): FaultKind[] {
  return text.split(',').map((name) => {
    const kind = FAULT_KINDS.find((one) => one === name.trim());
    if (kind === undefined) {
      throw new UserError(
        `--kinds: there is no fault ${JSON.stringify(name)}; there are ${FAULT_KINDS.join(', ')}.`,
      );
    }
    return kind;
  });
}
