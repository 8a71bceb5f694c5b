/**
 * From a job's death to its successor's process start, on the local backend, with every part of it.
 *
 *     npx tsx test/bench/relaunch.ts [KILLS]        (default 15; needs nothing but the set-up)
 *
 * Method: the real stack, one worker, one stage that commits at every step. Its job is killed with SIGKILL (one process group, no
 * word, no save) each time after a fresh commit. Death is when the shim saw the process end (`ended.json`), start is when the
 * successor's shim had spawned it (`started.json`); both are written with this machine's clock, to the millisecond. Parts come
 * from the ledger's records, the history's events and `HEAD`, all on this machine too. Printed are medians over the kills,
 * with least and most. Claiming, the ledger and the verification of what was left are included.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { headSchema } from '../../src/contracts/index.js';
import { checkChain } from '../../src/domain/ledger/chain.js';
import { jobName } from '../../src/domain/run/names.js';
import { readChain } from '../../src/store/ledger.js';
import { ChaosStack } from '../chaos/support/chaos-stack.js';
import type { ChaosRun } from '../chaos/support/chaos-run.js';
import { CHAOS_RECIPE, CHAOS_STAGE } from '../chaos/support/recipe.js';
import { loadText, spread } from './support/figures.js';

const kills = Number(process.argv[2] ?? 15);

const stack = await ChaosStack.start();
try {
  const { stages } = CHAOS_RECIPE;
  const run = await stack.run('relaunch', {
    stages: { ...stages, 'stage-1': { ...stages['stage-1'], steps: 20 * kills } },
  });
  const claims = new Map<number, number>();
  let epoch = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const job = await run.job(epoch);
    const { updatedAt, commit } = (await stack.live.store.getJson(run.urls.head, headSchema)).value;
    claims.set(job.epoch, Date.parse(updatedAt));
    await run.committed((commit?.step ?? 0) + 1);
    // A commit whose event has come is progress; without any, the same death twice would park the stage.
    await run.until('the event of a commit', async () =>
      (await run.events(job.epoch)).some(({ type }) => type === 'commit') ? true : null,
    );
    await stack.backend.signal(job.name, 'SIGKILL');
    epoch = job.epoch;
  }
  const last = await run.job(epoch);
  const parts = await partsOf(run, claims, epoch + 1);
  console.log(`\nFrom a job's death to its successor's process start, ${kills} kills; ${loadText()}`);
  for (const [name, values] of parts) console.log(`  ${name.padEnd(34)} ${spread(values, 'ms')}`);
  await run.handle.terminate('the benchmark is over');
  await stack.backend.terminate(last.name, 0);
} finally {
  await stack.stop();
}

/** Milliseconds of every part, by name. */
async function partsOf(
  run: ChaosRun,
  claims: ReadonlyMap<number, number>,
  last: number,
): Promise<Map<string, number[]>> {
  const { links } = checkChain(await readChain(stack.live.store, run.urls.ledger));
  const recorded = (type: string, of: number): number =>
    Date.parse(
      links.find(
        ({ record }) =>
          record !== null &&
          'epoch' in record.entry &&
          record.entry.type === type &&
          record.entry.epoch === of,
      )?.record?.at ?? '',
    );
  const activities = await activityTimes(run);
  const parts = new Map<string, number[]>();
  const add = (name: string, milliseconds: number): void => {
    parts.set(name, [...(parts.get(name) ?? []), milliseconds]);
  };
  for (let epoch = 1; epoch < last; epoch += 1) {
    const death = await instantOf(run, epoch, 'ended.json', 'endedAt');
    const start = await instantOf(run, epoch + 1, 'started.json', 'startedAt');
    const [before, after] = [activities[epoch - 1], activities[epoch]];
    const claim = claims.get(epoch + 1);
    if (before === undefined || after === undefined)
      throw new Error(`attempt ${epoch} is not in the history`);
    add('death to start', start - death);
    add('  death to its record', recorded('attempt-ended', epoch) - death);
    add('  record to end of the activity', before.completed - recorded('attempt-ended', epoch));
    add('  decision of the workflow', after.scheduled - before.completed);
    add('  next activity picked up', after.started - after.scheduled);
    if (claim !== undefined) add('  claim of HEAD', claim - after.started);
    if (claim !== undefined) add('  claim to process start', start - claim);
  }
  return parts;
}

/** When the stage's `runAttempt` activities were scheduled, picked up and completed, by the server's clock. */
async function activityTimes(run: ChaosRun) {
  const handle = stack.live.client.workflow.getHandle(`${run.name}/${CHAOS_STAGE}`);
  const { events } = await handle.fetchHistory();
  const timeOf = (event: { eventTime?: unknown }): number => {
    const { seconds, nanos } = z
      .looseObject({ seconds: z.unknown(), nanos: z.number().nullish() })
      .parse(event.eventTime);
    return Number(seconds) * 1000 + (nanos ?? 0) / 1e6;
  };
  const scheduled = new Map<string, number>();
  const started = new Map<string, number>();
  const times: { scheduled: number; started: number; completed: number }[] = [];
  for (const event of events ?? []) {
    const id = String(event.eventId);
    if (event.activityTaskScheduledEventAttributes?.activityType?.name === 'runAttempt') {
      scheduled.set(id, timeOf(event));
      times.push({ scheduled: timeOf(event), started: NaN, completed: NaN });
    }
    const begun = event.activityTaskStartedEventAttributes;
    if (begun) started.set(String(begun.scheduledEventId), timeOf(event));
    const done = event.activityTaskCompletedEventAttributes;
    const at = scheduled.get(String(done?.scheduledEventId));
    const index = times.findIndex((one) => one.scheduled === at);
    if (done && at !== undefined && index >= 0) {
      times[index] = {
        scheduled: at,
        started: started.get(String(done.scheduledEventId)) ?? NaN,
        completed: timeOf(event),
      };
    }
  }
  // An activity that runs still has no events yet: a started one is written when it ends.
  const { raw } = await handle.describe();
  const running = raw.pendingActivities?.[0]?.lastStartedTime;
  return times.map((one) =>
    Number.isNaN(one.started) && running ? { ...one, started: timeOf({ eventTime: running }) } : one,
  );
}

async function instantOf(run: ChaosRun, epoch: number, file: string, field: string): Promise<number> {
  const path = join(stack.live.config.dataDir, 'jobs', jobName(run.name, CHAOS_STAGE, epoch), file);
  const content: unknown = JSON.parse(await readFile(path, 'utf8'));
  return Date.parse(z.looseObject({ [field]: z.string() }).parse(content)[field] ?? '');
}
