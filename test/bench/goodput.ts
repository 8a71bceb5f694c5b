/**
 * Goodput with automatic checkpoint intervals against the best that any fixed interval could have reached under the same faults.
 *
 *     npx tsx test/bench/goodput.ts [FAULTS] [MEAN_SECONDS] [SEED]        (default 12, 12, a random seed)
 *
 * Method: one real stage with `everySteps: auto`. Its attempts are given lives drawn from an exponential distribution by the
 * seed, counted from the start of the process; at the end of its life an attempt vanishes without a word (shim and job get
 * SIGKILL, as when a node is lost), until all faults have struck. Goodput is the time of steps that lasted over the wall
 * time from the first process start to the last commit. Then the very same lives are replayed in arithmetic for every fixed
 * interval, with the medians that this run measured (start, step, stall, save, relaunch): the best of those is the
 * optimum, and the replay of the intervals actually used tells how far the arithmetic is from the truth.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { JobEvent } from '../../src/contracts/index.js';
import { epochSchema } from '../../src/contracts/index.js';
import { jobName } from '../../src/domain/job-names.js';
import { uniform } from '../../src/drill/schedule.js';
import type { ChaosRun } from '../chaos/support/chaos-run.js';
import { ChaosStack } from '../chaos/support/chaos-stack.js';
import { CHAOS_RECIPE, CHAOS_STAGE } from '../chaos/support/recipe.js';
import { loadText, median } from './support/figures.js';

const faults = Number(process.argv[2] ?? 12);
const meanSeconds = Number(process.argv[3] ?? 12);
const seed = Number(process.argv[4] ?? Math.floor(Math.random() * 2 ** 32));
const lives = Array.from(
  { length: faults },
  (_, index) => -meanSeconds * Math.log(1 - uniform(`${seed} life ${index}`)),
);

/** One attempt as it was. Instants in seconds. */
interface Life {
  readonly startedAt: number;
  readonly steps: readonly { readonly at: number; readonly step: number; readonly seconds: number }[];
  readonly commits: readonly {
    readonly at: number;
    readonly step: number;
    readonly stall: number;
    readonly seconds: number;
  }[];
}

/** What things take, seconds. */
interface Costs {
  readonly start: number;
  readonly step: number;
  readonly stall: number;
  readonly save: number;
  /** From a death to the next process. */
  readonly relaunch: number;
}

const stack = await ChaosStack.start();
try {
  const { stages } = CHAOS_RECIPE;
  const checkpoints = { everySteps: 'auto', keepLast: 2 };
  // Rows of twice the length of the model's own would need a bump; more of them make a step long enough to matter.
  const stage = { ...stages['stage-1'], globalBatchTokens: 4096, steps: 100_000, checkpoints };
  const run = await stack.run('goodput', {
    // Few texts give few rows; the dataset repeats them as often as it takes.
    stages: { ...stages, 'stage-1': { ...stage, steps: 40 * faults } },
  });
  let epoch = 0;
  for (const life of lives) {
    const job = await Promise.race([run.job(epoch), run.completed().then(() => null)]);
    if (job === null) break;
    const startedAt = await startOf(run, job.epoch);
    const left = startedAt + life - Date.now() / 1000;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, left * 1000)));
    if (!(await run.vanish(job))) break;
    epoch = job.epoch;
  }
  await run.completed();
  report(await livesOf(run));
} finally {
  await stack.stop();
}

function report(happened: readonly Life[]): void {
  const costs = costsOf(happened);
  const total = Math.max(...happened.flatMap(({ commits }) => commits.map(({ step }) => step)));
  const [first, last] = [happened[0], happened.at(-1)?.commits.at(-1)];
  if (first === undefined || last === undefined) throw new Error('nothing happened');
  const wall = last.at - first.startedAt;
  const real = (total * costs.step) / wall;
  const struck = lives.slice(0, happened.length - 1);
  const replays = Array.from({ length: 100 }, (_, index) => ({
    every: index + 1,
    goodput: (total * costs.step) / replay(total, struck, costs, () => index + 1),
  }));
  const best = replays.reduce((a, b) => (b.goodput > a.goodput ? b : a));
  const used = happened.map(intervalOf);
  const replayed = (total * costs.step) / replay(total, struck, costs, (attempt) => used[attempt] ?? 1);
  console.log(
    `\n${struck.length} faults, lives of ${meanSeconds} s in the mean, seed ${seed}; ${loadText()}`,
  );
  console.log(
    `medians: start ${costs.start.toFixed(2)} s, step ${costs.step.toFixed(3)} s, stall ${costs.stall.toFixed(4)} s, ` +
      `save ${costs.save.toFixed(3)} s, relaunch ${costs.relaunch.toFixed(2)} s`,
  );
  console.log(`steps between commits, attempt by attempt: ${used.join(', ')}`);
  console.log(
    `goodput measured ${(100 * real).toFixed(1)} %, replayed with those intervals ${(100 * replayed).toFixed(1)} %`,
  );
  console.log(
    `best fixed interval for these faults: ${best.every} steps, ${(100 * best.goodput).toFixed(1)} %; ` +
      `auto reaches ${((100 * replayed) / best.goodput).toFixed(1)} % of it`,
  );
}

/** Seconds that so many steps take when attempts die after their lives, committing every so many steps. */
function replay(
  total: number,
  struck: readonly number[],
  { start, step, stall, save, relaunch }: Costs,
  every: (attempt: number) => number,
): number {
  let wall = 0;
  let committed = 0;
  for (let attempt = 0; ; attempt += 1) {
    const life = struck[attempt] ?? Infinity;
    const interval = every(attempt);
    let at = start;
    let done = committed;
    while (done < total) {
      done += 1;
      at += step;
      if (at > life) break;
      if (done % interval !== 0 && done !== total) continue;
      at += stall;
      if (at + save > life) break;
      committed = done;
    }
    if (committed === total) return wall + at + save;
    wall += life + relaunch;
  }
}

function costsOf(happened: readonly Life[]): Costs {
  const steps = happened.flatMap(({ steps }) => steps.slice(1).map(({ seconds }) => seconds));
  const commits = happened.flatMap(({ commits }) => commits);
  const starts = happened.flatMap(({ startedAt, steps: [first] }) =>
    first === undefined ? [] : [first.at - first.seconds - startedAt],
  );
  const relaunches = happened.slice(1).flatMap(({ startedAt }, index) => {
    const [before, life] = [happened[index], lives[index]];
    return before === undefined || life === undefined ? [] : [startedAt - before.startedAt - life];
  });
  return {
    start: median(starts),
    step: median(steps),
    stall: median(commits.map(({ stall }) => stall)),
    save: median(commits.map(({ seconds }) => seconds)),
    relaunch: median(relaunches),
  };
}

/** Median steps between two commits of an attempt. */
function intervalOf({ commits }: Life): number {
  const gaps = commits.slice(1).map(({ step }, index) => step - (commits[index]?.step ?? 0));
  return gaps.length === 0 ? 1 : Math.max(1, Math.round(median(gaps)));
}

async function livesOf(run: ChaosRun): Promise<Life[]> {
  const found: Life[] = [];
  for (const epoch of await run.epochs()) {
    const events = await run.events(epochSchema.parse(epoch));
    found.push({
      startedAt: await startOf(run, epoch),
      steps: events.flatMap(stepOf),
      commits: events.flatMap(commitOf),
    });
  }
  return found;
}

function stepOf(event: JobEvent): Life['steps'] {
  if (event.type !== 'step') return [];
  return [{ at: Date.parse(event.at) / 1000, step: event.step, seconds: event.seconds }];
}

function commitOf(event: JobEvent): Life['commits'] {
  if (event.type !== 'commit') return [];
  return [
    { at: Date.parse(event.at) / 1000, step: event.step, stall: event.stallSeconds, seconds: event.seconds },
  ];
}

/** When the process of an attempt started, seconds. */
async function startOf(run: ChaosRun, epoch: number): Promise<number> {
  const name = jobName(run.name, CHAOS_STAGE, epoch);
  const file = join(stack.live.config.dataDir, 'jobs', name, 'started.json');
  const { startedAt } = z
    .looseObject({ startedAt: z.string() })
    .parse(JSON.parse(await readFile(file, 'utf8')));
  return Date.parse(startedAt) / 1000;
}
