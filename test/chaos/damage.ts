/** What happens to bytes and to numbers: damaged checkpoints, damaged data, and broken losses. */
import { open, readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { auditRun } from '../../src/audit/audit.js';
import { readHistory } from '../../src/audit/temporal.js';
import { checkpointManifestSchema } from '../../src/contracts/index.js';
import type { HeadCommit } from '../../src/contracts/index.js';
import { readQuarantine } from '../../src/store/checkpoints.js';
import { describeBytes, rootDigest, sha256 } from '../../src/store/digest.js';
import { commitsOf, moveHead } from '../../src/store/head.js';
import { encodeJson } from '../../src/store/object-store.js';
import { TEST_MS } from '../support/patience.js';
import { inState, update } from './operators.js';
import type { ChaosRun } from './support/chaos-run.js';
import type { ChaosStack } from './support/chaos-stack.js';
import { CHAOS_RECIPE } from './support/recipe.js';

const LIMIT = { timeout: TEST_MS };

/** What is done to a file of a checkpoint. */
const DAMAGES = {
  'a flipped bit': flipBit,
  'a truncated file': async (file: string) => truncate(file, Math.floor((await stat(file)).size / 2)),
  'a missing file': (file: string) => rm(file),
} as const;

/** Scenarios; they disturb nobody but their own run. */
export function damageScenarios(stack: () => ChaosStack): void {
  describe.concurrent(
    'a damaged checkpoint is passed over, marked, and costs the steps since the one before',
    () => {
      for (const [what, damage] of Object.entries(DAMAGES)) {
        it(`${what} in the newest`, LIMIT, async () => {
          const run = await stack().run('damage');
          const damaged = await damageNewest(stack(), run, damage, 1);
          await run.completed();
          await expectPassedOver(stack(), run, damaged);
        });
      }

      it('a flipped bit in the newest two', LIMIT, async () => {
        const run = await stack().run('damage-two');
        const damaged = await damageNewest(stack(), run, flipBit, 2);
        await run.completed();
        await expectPassedOver(stack(), run, damaged);
      });
    },
  );

  describe.concurrent('what an intruder changes', () => {
    it(
      'is nothing in a run that was paused and went on: the audit vouches for every object',
      LIMIT,
      async () => {
        const run = await stack().run('untouched');
        await pausedAfter(run, 3);
        await update(run, 'resume');
        await run.completed();
        const found = await auditOf(stack(), run);
        const told = found.checks.flatMap(({ name, differences, notes }) => [
          ...differences.map(({ object, message }) => `${name}: ${object} ${message}`),
          ...notes.map((note) => `${name}: ${note}`),
        ]);
        expect([found.verdict, told]).toEqual(['verified', []]);
      },
    );

    it('while a run is paused, its manifest and HEAD too: nobody goes on from there', LIMIT, async () => {
      const run = await stack().run('intruder');
      await pausedAfter(run, 3);
      const { id } = await forgeNewest(stack(), run);
      await update(run, 'resume');
      expect(await run.failed()).toContain(`HEAD names the commit ${id} with the manifest`);
      expect((await auditOf(stack(), run)).verdict).toBe('different');
    });
  });

  describe.concurrent('what another attempt would not mend is not tried for ever', () => {
    it(
      'a loss that breaks wherever it goes on: numerics, after a bounded number of tries',
      LIMIT,
      async () => {
        const schedule = { peak: 1e30, floor: 1e30, warmupShare: 0 };
        const run = await stack().run('nan', withStage({ schedule }));
        expect(await run.failed()).toContain('not finite');
        const endings = await run.endings();
        expect(new Set(endings)).toEqual(new Set(['numerics']));
        expect(endings.length).toBeLessThanOrEqual(4);
      },
    );

    it('a dataset with a flipped bit: data, at once', LIMIT, async () => {
      // A seed of its own makes a dataset of its own.
      const run = await stack().run('poison', { seed: 4711 });
      await run.head();
      const folder = stack().fileOf(`${stack().live.config.s3.rootUrl}/datasets`);
      const newest = await newestFolder(folder);
      const shard = (await readdir(newest)).find((name) => name.endsWith('.mds'));
      if (shard === undefined) throw new Error('the dataset has no shard');
      await flipBit(join(newest, shard));
      await run.failed();
      expect(await run.endings()).toEqual(['data']);
    });
  });
}

/** The recipe's stage with other settings. */
function withStage(settings: Readonly<Record<string, unknown>>) {
  const { stages } = CHAOS_RECIPE;
  return { stages: { ...stages, 'stage-1': { ...stages['stage-1'], ...settings } } };
}

/** Kills the job after some commits, having damaged the weights of the newest ones. */
async function damageNewest(
  stack: ChaosStack,
  run: ChaosRun,
  damage: (file: string) => Promise<void>,
  count: number,
): Promise<HeadCommit[]> {
  const job = await run.job();
  await run.committed(4);
  // Frozen, so that no commit comes between the look and the damage; a write under way has landed after a moment.
  await stack.backend.signal(job.name, 'SIGSTOP');
  await sleep(200);
  const damaged = commitsOf(await run.head()).slice(0, count);
  for (const { id } of damaged) {
    await damage(stack.fileOf(`${run.urls.checkpoint(id)}/weights.safetensors`));
  }
  await stack.backend.signal(job.name, 'SIGKILL');
  return damaged;
}

async function expectPassedOver(
  stack: ChaosStack,
  run: ChaosRun,
  damaged: readonly HeadCommit[],
): Promise<void> {
  const line = commitsOf(await run.head()).map(({ id }) => id);
  for (const { id } of damaged) {
    expect(line).not.toContain(id);
    expect((await readQuarantine(stack.live.store, run.stageUrl, id))?.problems).toHaveLength(1);
  }
  expect(await run.flaws()).toEqual([]);
}

/** Flips one bit in the middle of a file. */
async function flipBit(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const at = Math.floor((await handle.stat()).size / 2);
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, at);
    byte.writeUInt8(byte.readUInt8(0) ^ 1, 0);
    await handle.write(byte, 0, 1, at);
  } finally {
    await handle.close();
  }
}

async function newestFolder(parent: string): Promise<string> {
  const folders = (await readdir(parent)).map((name) => join(parent, name));
  const times = await Promise.all(
    folders.map(async (folder) => ({ folder, at: (await stat(folder)).mtimeMs })),
  );
  const newest = times.sort((a, b) => b.at - a.at)[0];
  if (newest === undefined) throw new Error(`${parent} is empty`);
  return newest.folder;
}

/** Pauses a run once it has committed so many steps, and waits until it rests. */
async function pausedAfter(run: ChaosRun, step: number): Promise<void> {
  const release = run.holdAfter(step);
  const job = await run.job();
  await run.committed(step);
  await run.toldToStop(job, () => update(run, 'pause'));
  release();
  await inState(run, 'paused');
}

/** Other weights in the newest checkpoint, with a manifest and a `HEAD` that say so. */
async function forgeNewest({ live: { store } }: ChaosStack, run: ChaosRun): Promise<HeadCommit> {
  const { commit } = await run.head();
  if (commit === null) throw new Error('nothing was committed');
  const url = run.urls.manifest(commit.id);
  const { value: manifest } = await store.getJson(url, checkpointManifestSchema);
  const halved = Buffer.from('halved weights');
  await store.put(`${run.urls.checkpoint(commit.id)}/weights.safetensors`, halved);
  const files = manifest.files.map((file) =>
    file.path === 'weights.safetensors' ? describeBytes(file.path, halved) : file,
  );
  const forged = encodeJson({ ...manifest, files, rootDigest: rootDigest(files) });
  await store.put(url, forged);
  const moved = { ...commit, manifestDigest: sha256(forged) };
  await moveHead(store, run.stageUrl, (head) => ({ ...head, commit: moved }));
  return moved;
}

function auditOf({ live: { store, client } }: ChaosStack, { runUrl }: ChaosRun) {
  return auditRun({
    store,
    runUrl,
    level: 'full',
    history: ({ run, runIds }) => readHistory(client, run, runIds),
  });
}
