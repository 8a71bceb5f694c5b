import { rm } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Epoch, HeadCommit } from '../../src/contracts/index.js';
import {
  checkpointRef,
  moveHead,
  pinCheckpoint,
  quarantineCheckpoint,
  retainCheckpoints,
  stageLayout,
  unpinCheckpoint,
  verifyCheckpoint,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import {
  claim,
  commitCheckpoint,
  startStage,
  truncateFile,
  uploadCheckpoint,
  useS3Server,
} from './support.js';

const server = useS3Server();
let store: ObjectStore;
let stageUrl: string;
let epoch: Epoch;
let commits: HeadCommit[];

/** Commits 1 to 5 of an attempt that a newer one has followed. */
beforeEach(async () => {
  store = server.current.connect();
  stageUrl = await startStage(store);
  epoch = await claim(store, stageUrl);
  commits = [];
  for (const step of [1, 2, 3, 4, 5]) commits.push(await commitCheckpoint(store, stageUrl, epoch, step));
  await claim(store, stageUrl);
});

const steps = async (): Promise<number[]> =>
  (await store.folders(stageLayout(stageUrl).checkpoints)).map((name) => Number(name.split('-')[0]));

const retain = (keepLast: number, keepEvery = 0): Promise<unknown> =>
  retainCheckpoints(store, { stageUrl, keepLast, keepEvery });

function commitAt(step: number): HeadCommit {
  const commit = commits[step - 1];
  if (commit === undefined) throw new Error(`no commit at step ${String(step)}`);
  return commit;
}

describe('retention keeps what something needs', () => {
  it('the newest k', async () => {
    await retain(2);
    expect(await steps()).toEqual([4, 5]);
  });

  it('every n-th step', async () => {
    await retain(1, 2);
    expect(await steps()).toEqual([2, 4, 5]);
  });

  it('what is pinned, until its last pin is gone', async () => {
    const ref = checkpointRef(stageUrl, commitAt(2));
    await pinCheckpoint(store, ref, { name: 'finished', reason: 'the stage is done' });
    await pinCheckpoint(store, ref, { name: 'branch-sft', reason: 'SFT starts here' });
    await retain(1);
    expect(await steps()).toEqual([2, 5]);
    expect((await verifyCheckpoint(store, ref, 'audited')).problems).toEqual([]);
    await unpinCheckpoint(store, ref, 'finished');
    await retain(1);
    expect(await steps()).toEqual([2, 5]);
    await unpinCheckpoint(store, ref, 'branch-sft');
    await retain(1);
    expect(await steps()).toEqual([5]);
  });

  it('what is quarantined, as evidence', async () => {
    const found = await verifyCheckpoint(store, checkpointRef(stageUrl, commitAt(1)), 'stored');
    await quarantineCheckpoint(store, stageUrl, { ...found, problems: ['a bad part'] }, epoch);
    await retain(1);
    expect(await steps()).toEqual([1, 5]);
  });

  it('what the current attempt uploads, which is no commit yet', async () => {
    await uploadCheckpoint(store, stageUrl, await claim(store, stageUrl), 6);
    await retain(1);
    expect(await steps()).toEqual([5, 6]);
  });

  it('what it does not know', async () => {
    await store.put(`${stageLayout(stageUrl).checkpoints}/notes/why.txt`, Buffer.from('kept by hand'));
    await retain(1);
    expect(await store.folders(stageLayout(stageUrl).checkpoints)).toContain('notes');
  });
});

describe('nothing is deleted before a newer commit verifies', () => {
  it('deletes nothing when HEAD’s commit is damaged', async () => {
    const { id } = commitAt(5);
    await truncateFile(server.current.fileOf(`${stageLayout(stageUrl).checkpoint(id)}/model.safetensors`));
    await expect(retain(1)).rejects.toMatchObject({ code: 'invalid-object' });
    expect(await steps()).toEqual([1, 2, 3, 4, 5]);
  });

  it('deletes nothing when HEAD’s commit is gone', async () => {
    const { id } = commitAt(5);
    await rm(server.current.fileOf(stageLayout(stageUrl).manifest(id)));
    await expect(retain(1)).rejects.toMatchObject({ code: 'invalid-object' });
    expect(await steps()).toEqual([1, 2, 3, 4, 5]);
  });

  it('deletes nothing where HEAD has no commit', async () => {
    await moveHead(store, stageUrl, (head) => ({ ...head, commit: null, ancestors: [] }));
    await retain(1);
    expect(await steps()).toEqual([1, 2, 3, 4, 5]);
  });
});

describe('a pin holds or is refused', () => {
  it('refuses to pin what is gone', async () => {
    await retain(1);
    const pin = { name: 'resume', reason: 'asked for by hand' };
    await expect(pinCheckpoint(store, checkpointRef(stageUrl, commitAt(1)), pin)).rejects.toMatchObject({
      code: 'not-found',
    });
  });

  it('leaves nothing behind of a pin that was refused', async () => {
    await retain(1);
    const ref = checkpointRef(stageUrl, commitAt(1));
    await pinCheckpoint(store, ref, { name: 'resume', reason: 'x' }).catch(() => undefined);
    expect(await steps()).toEqual([5]);
  });
});
