/**
 * Goodput at the checkpoint interval "auto" against fixed ones, on the same schedules of faults, with real trainers.
 *
 *     npx tsx test/bench/goodput.ts [STEPS] [SEED,SEED,…]        (default 120 steps, seeds 1,2,3; needs nothing but the set-up)
 *
 * Method: one stage of STEPS optimizer steps, trained once per interval and seed from the same data. A job is killed with SIGKILL
 * (one process group, no word, no save) when it has trained so many steps since the job before it died; the numbers are drawn
 * from an exponential distribution of mean 15 with the seed, and are the same for every interval. Each attempt is told what the
 * control plane would tell it: the mean time between interruptions, assumed at first, and then ever more as it was seen.
 *
 * Goodput is the share of training time that went into steps that last: N·s / (N·s + R·s + C·c). Steps done again (R) and
 * checkpoints (C) are counted per interval over all seeds. What a step takes (s) and what a checkpoint costs (c: training stood
 * still for its copy, and was slower beside its upload) are medians over all intervals, so that other work on the machine weighs
 * on all alike. Restarts take what they take whatever the interval, and are left out. The choice is tried on many more costs and rates
 * in arithmetic, by infra/trainer/tests/test_interval.py.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { attemptSchema, epochSchema, jobSpecSchema } from '../../src/contracts/index.js';
import type { Epoch, JobEvent, TrainSpec } from '../../src/contracts/index.js';
import { meanBetweenInterruptions } from '../../src/domain/plan/interval.js';
import { TINY } from '../../src/domain/recipe/presets/tiny.js';
import { createEmptyHead, openAttempt } from '../../src/store/head.js';
import { stageLayout } from '../../src/contracts/layout.js';
import { readEventFiles, readOutcome } from '../../src/store/attempt-files.js';
import { renewLease } from '../../src/store/lease.js';
import { dependencies } from '../../src/worker.js';
import { ChaosStack } from '../chaos/support/chaos-stack.js';
import { CHAOS_RECIPE } from '../chaos/support/recipe.js';
import { loadText, median } from './support/figures.js';

const INTERVALS = ['auto', 1, 2, 4, 8] as const;
type Interval = (typeof INTERVALS)[number];
const MEAN_STEPS_BETWEEN_FAULTS = 15;
const ASSUMED_SECONDS = TINY.cost.interruptions.meanHoursBetween * 3600;

const steps = Number(process.argv[2] ?? 120);
const seeds = (process.argv[3] ?? '1,2,3').split(',').map(Number);

/** What happened at one interval. */
interface Course {
  readonly interval: Interval;
  readonly attempts: readonly (readonly JobEvent[])[];
}

const stack = await ChaosStack.start();
try {
  const spec = await specOfStage();
  const courses: Course[] = [];
  for (const seed of seeds) {
    console.log(`${steps} steps, seed ${seed}`);
    for (const interval of INTERVALS) {
      courses.push(await train(spec, interval, seed));
      console.log(`  ${String(interval).padStart(4)}: ${courses.at(-1)?.attempts.length ?? 0} attempts`);
    }
    print(courses, seeds.slice(0, seeds.indexOf(seed) + 1));
  }
} finally {
  await stack.stop();
}

/** Has data curated for a stage of so many steps, and takes its spec. */
async function specOfStage(): Promise<TrainSpec> {
  const { stages } = CHAOS_RECIPE;
  const stage = { ...stages['stage-1'], steps, globalBatchTokens: 1024 };
  const run = await stack.run('goodput', { stages: { ...stages, 'stage-1': stage } });
  await run.head();
  const spec = await run.until(
    'its spec',
    async () => (await stack.live.store.findJson(run.urls.spec, jobSpecSchema))?.value ?? null,
  );
  await run.handle.cancel();
  await run.completed().catch(() => undefined);
  if (spec.kind !== 'train') throw new Error('the stage trains');
  return spec;
}

/** Trains the stage to its end at one interval, through every fault of the schedule. */
async function train(base: TrainSpec, interval: Interval, seed: number): Promise<Course> {
  const { store } = stack.live;
  const stageUrl = `${base.stageUrl}-every-${interval}-${seed}`;
  const course = `${interval}-${seed}`;
  const spec: TrainSpec = {
    ...base,
    stageUrl,
    checkpoints: { everySteps: interval, keepLast: 2, keepEvery: 0 },
    events: { ...base.events, flushSeconds: 0.2 },
  };
  await store.putJson(stageLayout(stageUrl).spec, jobSpecSchema, spec);
  await createEmptyHead(store, stageUrl);
  const gaps = faults(seed);
  const attempts: JobEvent[][] = [];
  let trainedSeconds = 0;
  for (;;) {
    const mean = meanBetweenInterruptions(ASSUMED_SECONDS, trainedSeconds, attempts.length);
    const epoch = await launch(stageUrl, course, attempts.length + 1, mean);
    const events = await follow(stageUrl, course, epoch, gaps());
    attempts.push(events);
    trainedSeconds += stepsOf(events).reduce((sum, { seconds }) => sum + seconds, 0);
    if ((await readOutcome(store, stageUrl, epoch))?.result === 'trained') return { interval, attempts };
  }
}

async function launch(
  stageUrl: string,
  course: string,
  number: number,
  meanSecondsBetweenInterruptions: number,
): Promise<Epoch> {
  const { store } = stack.live;
  const layout = stageLayout(stageUrl);
  const owner = `bench/${course}/${number}`;
  const { epoch, head } = await openAttempt(store, { stageUrl, owner });
  await store.putJson(layout.attemptFile(epoch), attemptSchema, {
    schema: 'longhaul.attempt/1',
    epoch,
    owner,
    startedFrom: head.commit,
    skipSteps: [],
    meanSecondsBetweenInterruptions,
    createdAt: new Date().toISOString(),
  });
  await renewLease(store, stageUrl, epoch, 3600);
  const { command, environment } = dependencies(stack.live.config).jobs;
  await stack.backend.submit({
    name: nameOf(course, epoch),
    command,
    environment: {
      ...environment,
      LONGHAUL_SPEC_URL: layout.spec,
      LONGHAUL_EPOCH: String(epoch),
      LONGHAUL_GRACE_SECONDS: '10',
    },
    graceSeconds: 10,
  });
  return epoch;
}

function nameOf(course: string, epoch: number): string {
  return `goodput-${course}-${epoch}`;
}

/** Kills the job once it has trained so many steps; returns all its events when it is gone. */
async function follow(
  stageUrl: string,
  course: string,
  epoch: Epoch,
  stepsUntilFault: number,
): Promise<JobEvent[]> {
  const { store } = stack.live;
  const name = nameOf(course, epoch);
  const events: JobEvent[] = [];
  let files = 0;
  const read = async (): Promise<void> => {
    const found = await readEventFiles(store, stageUrl, epochSchema.parse(epoch), files + 1);
    files += found.length;
    events.push(...found.flatMap((file) => file.events));
  };
  while ((await stack.backend.observe(name)).state === 'running') {
    await read();
    if (stepsOf(events).length >= stepsUntilFault) await stack.backend.signal(name, 'SIGKILL');
    await sleep(20);
  }
  await read();
  return events;
}

function stepsOf(events: readonly JobEvent[]) {
  return events.filter((event) => event.type === 'step');
}

/** The schedule of faults from its beginning: steps from one death to the next. */
function faults(seed: number): () => number {
  let state = Math.imul(seed, 2_654_435_761) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.max(1, Math.round(-MEAN_STEPS_BETWEEN_FAULTS * Math.log((state + 1) / 2 ** 32)));
  };
}

/** What all seeds so far come to. */
function print(courses: readonly Course[], seedsDone: readonly number[]): void {
  const step = median(courses.flatMap(({ attempts }) => attempts.flatMap(quietSteps)));
  const cost = Math.max(
    0,
    median(courses.flatMap(({ attempts }) => attempts.flatMap((events) => costs(events, step)))),
  );
  const rows = INTERVALS.map((interval) => {
    const attempts = courses.flatMap((course) => (course.interval === interval ? course.attempts : []));
    const done = attempts.reduce((sum, events) => sum + stepsOf(events).length, 0);
    const again = done - steps * seedsDone.length;
    const saves = attempts.flat().filter(({ type }) => type === 'commit').length;
    const lasting = steps * seedsDone.length * step;
    return { interval, again, saves, goodput: lasting / (lasting + again * step + saves * cost) };
  });
  const best = Math.max(...rows.map(({ goodput }) => goodput));
  console.log(
    `\na step ${(step * 1000).toFixed(0)} ms, a checkpoint costs ${(cost * 1000).toFixed(0)} ms; ${loadText()}`,
  );
  console.log('interval  done again  checkpoints  goodput  of the best');
  for (const { interval, again, saves, goodput } of rows) {
    console.log(
      [
        String(interval).padStart(8),
        String(again).padStart(12),
        String(saves).padStart(13),
        `${(100 * goodput).toFixed(1)} %`.padStart(9),
        `${((100 * goodput) / best).toFixed(1)} %`.padStart(13),
      ].join(''),
    );
  }
}

/** Seconds of steps that no save was in flight beside; an attempt's first step warms up. */
function quietSteps(events: readonly JobEvent[]): number[] {
  const saves = savesOf(events);
  return stepsOf(events)
    .slice(1)
    .filter((one) => !saves.some((save) => overlap(one, save)))
    .map(({ seconds }) => seconds);
}

/** What each checkpoint of an attempt cost training, seconds; steps are unequally long, so that some seem to cost less than nothing. */
function costs(events: readonly JobEvent[], step: number): number[] {
  return savesOf(events).map((save) => {
    const beside = stepsOf(events)
      .slice(1)
      .filter((one) => overlap(one, save));
    return save.stallSeconds + beside.reduce((sum, { seconds }) => sum + seconds - step, 0);
  });
}

function savesOf(events: readonly JobEvent[]) {
  return events.filter((event) => event.type === 'commit');
}

/** Whether two things that ended at `at` after `seconds` went on at the same time. */
function overlap(
  a: { readonly at: string; readonly seconds: number },
  b: { readonly at: string; readonly seconds: number },
): boolean {
  const [endA, endB] = [Date.parse(a.at) / 1000, Date.parse(b.at) / 1000];
  return endA > endB - b.seconds && endB > endA - a.seconds;
}
