/** `npm start -- --no-run` without its set-up, on a folder of its own: `start-program.ts FOLDER`. */
import path from 'node:path';
import { finishedSetUp, ROOT } from '../../infra/dev/setup.mjs';
import { startEverything } from '../../infra/dev/start-run.js';

const [, , stateDir] = process.argv;
if (stateDir === undefined) throw new Error('start-program.ts FOLDER');
process.exit(
  await startEverything({
    ...{ recipeFile: undefined, preset: undefined, isNew: false, keep: false, noRun: true },
    setUp: finishedSetUp({
      binDir: path.join(ROOT, '.longhaul', 'bin'),
      python: process.env['LONGHAUL_TRAINER_PYTHON'] ?? 'python3',
    }),
    stateDir,
  }),
);
