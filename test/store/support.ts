/** What the store's tests share: a stage of their own, and checkpoints as a trainer would commit them. */
import { randomBytes } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { afterAll, beforeAll } from 'vitest';
import { checkpointManifestSchema } from '../../src/contracts/index.js';
import type { CheckpointManifest, Epoch, HeadCommit } from '../../src/contracts/index.js';
import { formatCommitId, stageLayout } from '../../src/contracts/layout.js';
import {
  commitsOf,
  createEmptyHead,
  encodeJson,
  moveHead,
  openAttempt,
  rootDigest,
  sha256,
  uploadFile,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { TEST_BUCKET, startS3Server } from '../support/s3-server.js';
import type { TestS3 } from '../support/s3-server.js';

/** A server for the tests of one file, started before them and stopped after them. */
export function useS3Server(): { readonly current: TestS3 } {
  let server: TestS3 | undefined;
  beforeAll(async () => {
    server = await startS3Server();
  });
  afterAll(async () => {
    await server?.stop();
  });
  return {
    get current(): TestS3 {
      if (server === undefined) throw new Error('the server runs only while tests do');
      return server;
    },
  };
}

/** A prefix that nobody else uses. */
export function freshPrefix(): string {
  return `s3://${TEST_BUCKET}/${randomBytes(6).toString('hex')}`;
}

/** A stage that has started: `HEAD` is there, empty. */
export async function startStage(store: ObjectStore): Promise<string> {
  const stageUrl = `${freshPrefix()}/runs/r/stages/01-a`;
  await createEmptyHead(store, stageUrl);
  return stageUrl;
}

/** Claims the next epoch for an owner of its own. */
export async function claim(store: ObjectStore, stageUrl: string): Promise<Epoch> {
  return (await openAttempt(store, { stageUrl, owner: randomBytes(4).toString('hex') })).epoch;
}

/** Contents of a checkpoint that tell its step. */
export const weightsOf = (step: number): string => `weights ${String(step)} `.repeat(100);

/** Files of every checkpoint that these tests commit. */
export const CHECKPOINT_FILES = ['model.safetensors', 'optimizer/rank-0'] as const;

/** Commits a checkpoint as a trainer does: files, manifest, `HEAD`. */
export async function commitCheckpoint(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
  step: number,
): Promise<HeadCommit> {
  const manifest = await uploadCheckpoint(store, stageUrl, epoch, step);
  const bytes = encodeJson(manifest);
  const commit = { id: manifest.id, step, tokens: manifest.tokens, manifestDigest: sha256(bytes) };
  await moveHead(store, stageUrl, (head) => {
    if (head.epoch !== epoch) throw new Error('fenced');
    return { epoch, owner: head.owner, commit, ancestors: commitsOf(head) };
  });
  return commit;
}

/** All of a commit but moving `HEAD`. */
export async function uploadCheckpoint(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
  step: number,
): Promise<CheckpointManifest> {
  const layout = stageLayout(stageUrl);
  const id = formatCommitId(step, epoch, randomBytes(4).toString('hex'));
  const contents = { 'model.safetensors': weightsOf(step), 'optimizer/rank-0': 'm'.repeat(step) };
  const files = [];
  for (const name of CHECKPOINT_FILES) {
    files.push(await uploadFile(store, layout.checkpoint(id), name, Buffer.from(contents[name])));
  }
  const manifest = checkpointManifestSchema.parse({
    schema: 'longhaul.checkpoint/1',
    id,
    epoch,
    parent: null,
    step,
    tokens: step * 100,
    dataPosition: { datasetDigest: sha256('dataset'), nextSample: step * 10 },
    recipeDigest: sha256('recipe'),
    topology: { worldSize: 1, ranksPerNode: 1 },
    fingerprint: { torch: 'test' },
    files,
    rootDigest: rootDigest(files),
    weightsDigest: sha256(weightsOf(step)),
    createdAt: new Date().toISOString(),
  });
  await store.create(layout.manifest(id), encodeJson(manifest));
  return manifest;
}

/** Flips one bit of a file in place, as a disk does it: the server's own records stay. */
export async function flipBit(file: string): Promise<void> {
  const data = await readFile(file);
  const middle = Math.floor(data.length / 2);
  await withFile(file, async (handle) => {
    await handle.write(Buffer.from([data.readUInt8(middle) ^ 1]), 0, 1, middle);
  });
}

/** Cuts a file to half its size. */
export async function truncateFile(file: string): Promise<void> {
  await withFile(file, async (handle) => {
    await handle.truncate(Math.floor((await handle.stat()).size / 2));
  });
}

async function withFile(
  file: string,
  work: (handle: Awaited<ReturnType<typeof open>>) => Promise<void>,
): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await work(handle);
  } finally {
    await handle.close();
  }
}
