// @ts-check
/**
 * `npm start`: set-up, servers, worker, and the run. Options come after `--`, as in `npm start -- --no-run`.
 */
import { parseArgs } from 'node:util';
import { systemProblem } from './lib/files.mjs';
import { SetUpError, beginSetUp } from './setup.mjs';
import { red } from './lib/terminal.mjs';

const USAGE = `npm start [-- [recipe.json] [options]]

Sets up what is missing, starts the embedded Temporal and S3 servers and a worker, and runs a recipe to its report.
A run that is still open is continued where it was; Ctrl-C stops everything cleanly.

  recipe.json        a recipe as JSON; without one, the tiny preset
  --preset <name>    preset to start from
  --new              start a new run even if one is open (the open one stays open)
  --keep             keep servers and worker up after the run, to look around in the Temporal UI
  --no-run           only servers and worker: start runs from the Temporal UI or with \`npx longhaul start\`
`;

/** @returns {Omit<import('./start-run.js').StartOptions, 'setUp'> | undefined} undefined when help was asked for */
function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      preset: { type: 'string' },
      new: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      'no-run': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  if (positionals.length > 1) throw new TypeError(`one recipe at a time, not ${positionals.length}`);
  return {
    recipeFile: positionals[0],
    preset: values.preset,
    isNew: values.new,
    keep: values.keep,
    noRun: values['no-run'],
  };
}

try {
  const options = readArguments();
  if (options === undefined) {
    console.log(USAGE);
  } else {
    const setUp = beginSetUp();
    // What comes now is TypeScript and needs packages; it goes on while the rest is set up.
    await Promise.race([setUp.npm, setUp.done]);
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
    const { register } = await import('tsx/esm/api');
    register();
    const { startEverything } = await import('./start-run.js');
    // Connections that are still closing must not hold the user's prompt.
    process.exit(await startEverything({ ...options, setUp }));
  }
} catch (error) {
  if (error instanceof SetUpError) console.error(`\n${red('Set-up could not finish.')}\n${error.message}`);
  else if (error instanceof TypeError && 'code' in error) console.error(`${error.message}\n\n${USAGE}`);
  else {
    const sentence = systemProblem(error);
    if (sentence === undefined) throw error;
    console.error(`\n${sentence}`);
  }
  process.exitCode = 1;
}
