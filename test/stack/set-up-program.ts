/**
 * `npm start -- --no-run` beside a set-up that is slow, on a folder of its own: `set-up-program.ts FOLDER late|fails`. Once the
 * Temporal UI is announced, the rest of it is there a moment later, or can't be had.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { finishedSetUp, ROOT, SetUpError } from '../../infra/dev/setup.mjs';
import { startEverything } from '../../infra/dev/start-run.js';

const [, , stateDir, how] = process.argv;
if (stateDir === undefined || (how !== 'late' && how !== 'fails'))
  throw new Error('set-up-program.ts FOLDER late|fails');

let announced = (): void => undefined;
const uiIsUp = new Promise<void>((resolve) => {
  announced = resolve;
});
const finished = finishedSetUp({ binDir: path.join(ROOT, '.longhaul', 'bin'), python: 'python3' });
const s3Binary = how === 'late' ? uiIsUp : new Promise<never>(() => undefined);
const rest = uiIsUp.then(async () => {
  await sleep(500);
  if (how === 'fails') throw new SetUpError('the S3 server could not be obtained');
});
rest.catch(() => undefined);

try {
  process.exit(
    await startEverything({
      ...{ recipeFile: undefined, preset: undefined, isNew: false, keep: false, noRun: true, stateDir },
      setUp: {
        ...finished,
        tools: { ...finished.tools, versitygw: s3Binary },
        done: rest,
        isDone: false,
        line: (text) => {
          console.log(text);
          if (text.includes('Temporal UI')) announced();
        },
      },
    }),
  );
} catch (error) {
  if (!(error instanceof SetUpError)) throw error;
  console.log(`set-up: ${error.message}`);
  process.exit(1);
}
