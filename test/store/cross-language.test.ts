import { execa } from 'execa';
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_CODES, jobSpecSchema, trainSpecSchema } from '../../src/contracts/index.js';
import type { Epoch } from '../../src/contracts/index.js';
import { stageLayout } from '../../src/contracts/layout.js';
import {
  newestVerified,
  openAttempt,
  readEventFiles,
  readHead,
  readManifest,
  readOutcome,
  checkpointRef,
  sha256,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { claim, commitCheckpoint, flipBit, startStage, useS3Server } from './support.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const server = useS3Server();
let store: ObjectStore;
let stageUrl: string;
const stops: (() => Promise<unknown>)[] = [];

/** The control plane's part before a launch: `HEAD` and `spec.json`. */
beforeEach(async () => {
  store = server.current.connect();
  stageUrl = await startStage(store);
  await store.putJson(stageLayout(stageUrl).spec, jobSpecSchema, specOf(stageUrl));
});

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function specOf(url: string) {
  const input = { url: 's3://longhaul-test/model', digest: sha256('model') };
  return trainSpecSchema.parse({
    schema: 'longhaul.job-spec/1',
    kind: 'train',
    run: 'r',
    stage: '01-a',
    stageUrl: url,
    recipeDigest: sha256('recipe'),
    runtime: { device: 'cpu', precision: 'float32', strict: true, threads: 1 },
    events: { flushSeconds: 0.05, flushBytes: 1_048_576 },
    initialize: { from: 'model', model: input },
    config: input,
    tokenizer: input,
    data: {
      dataset: { manifestUrl: 's3://longhaul-test/dataset/manifest.json', digest: sha256('dataset') },
      sequenceLengthTokens: 16,
      globalBatchTokens: 16,
      steps: 2,
      documentMasking: true,
    },
    objective: 'all-tokens',
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
    schedule: { peak: 1e-3, floor: 1e-4, warmupTokens: 0, totalTokens: 32 },
    seed: 0,
    checkpoints: { everySteps: 1, keepLast: 3, keepEvery: 0 },
  });
}

/**
 * The trainer's wrapper with a made-up training loop: `finish` does two steps and commits each, `until_stopped` goes on until
 * it is told to stop, then saves.
 */
function startTrainer(behaviour: 'finish' | 'until_stopped', epoch: Epoch) {
  const job = execa(
    path.join(ROOT, '.longhaul/venv/bin/python'),
    [path.join(ROOT, 'infra/trainer/tests/fake_job.py'), behaviour],
    {
      env: {
        ...server.current.environment,
        LONGHAUL_SPEC_URL: stageLayout(stageUrl).spec,
        LONGHAUL_EPOCH: String(epoch),
        LONGHAUL_GRACE_SECONDS: '60',
      },
      reject: false,
    },
  );
  stops.push(() => {
    job.kill('SIGKILL');
    return job;
  });
  return job;
}

async function untilStepsOf(epoch: Epoch): Promise<void> {
  for (;;) {
    const files = await readEventFiles(store, stageUrl, epoch);
    if (files.some(({ events }) => events.some(({ type }) => type === 'step'))) return;
    await sleep(50);
  }
}

describe('what a trainer writes the control plane reads', () => {
  it('commits, events, log and outcome of a finished attempt', async () => {
    const epoch = await claim(store, stageUrl);
    const { exitCode } = await startTrainer('finish', epoch);
    expect(exitCode).toBe(EXIT_CODES.done);

    const { commit, passedOver } = await newestVerified(store, stageUrl, 'audited');
    expect([commit?.step, passedOver]).toEqual([2, []]);
    expect(await readOutcome(store, stageUrl, epoch)).toMatchObject({ result: 'trained', epoch, commit });
    const events = (await readEventFiles(store, stageUrl, epoch)).flatMap((file) => file.events);
    expect(events.filter(({ type }) => type === 'commit')).toHaveLength(2);
    const log = await store.get(stageLayout(stageUrl).log(epoch));
    expect(new TextDecoder().decode(log.data)).toContain('hello from the worker');
  });

  it('a damaged checkpoint of a trainer’s is found and passed over', async () => {
    const epoch = await claim(store, stageUrl);
    await startTrainer('finish', epoch);
    const { value: head } = await readHead(store, stageUrl);
    const [newest, before] = [head.commit, head.ancestors[0]];
    if (newest === null || before === undefined) throw new Error('two commits were expected');
    await flipBit(server.current.fileOf(`${stageLayout(stageUrl).checkpoint(newest.id)}/model.safetensors`));
    const found = await newestVerified(store, stageUrl, 'audited', epoch);
    expect([found.commit, found.passedOver.map(({ commit }) => commit)]).toEqual([before, [newest.id]]);
  });
});

describe('what the control plane writes a trainer reads', () => {
  it('a claim and a checkpoint, from which it goes on', async () => {
    const resumed = await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 1);
    const { exitCode } = await startTrainer('finish', await claim(store, stageUrl));
    expect(exitCode).toBe(EXIT_CODES.done);
    const { value: head } = await readHead(store, stageUrl);
    expect(head.ancestors.at(-1)).toEqual(resumed);
    const [first] = head.ancestors;
    if (first === undefined) throw new Error('two commits were expected');
    expect((await readManifest(store, checkpointRef(stageUrl, first))).parent).toBe(resumed.id);
  });

  it('a newer claim, after which the trainer before ends as fenced and has published nothing', async () => {
    const zombie = await claim(store, stageUrl);
    const job = startTrainer('until_stopped', zombie);
    await untilStepsOf(zombie);
    const { head } = await openAttempt(store, { stageUrl, owner: 'successor' });

    expect((await job).exitCode).toBe(EXIT_CODES.fenced);
    expect(await readOutcome(store, stageUrl, zombie)).toMatchObject({ result: 'ended', class: 'fenced' });
    expect((await readHead(store, stageUrl)).value).toEqual(head);
  });
});
