import { beforeEach, describe, expect, it } from 'vitest';
import { stageLayout } from '../../src/contracts/layout.js';
import { createEmptyHead, encodeJson, openAttempt, readHead, readLine } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import {
  claim,
  commitCheckpoint,
  freshPrefix,
  startStage,
  uploadCheckpoint,
  useS3Server,
} from './support.js';

const server = useS3Server();
let store: ObjectStore;
let stageUrl: string;

beforeEach(async () => {
  store = server.current.connect();
  stageUrl = await startStage(store);
});

describe('an epoch belongs to one owner', () => {
  it('gives the next epoch to every new owner, and names the owner before', async () => {
    const first = await openAttempt(store, { stageUrl, owner: 'a' });
    const second = await openAttempt(store, { stageUrl, owner: 'b' });
    expect([first.epoch, first.previousOwner]).toEqual([1, '']);
    expect([second.epoch, second.previousOwner]).toEqual([2, 'a']);
  });

  it('gives a repeated claim the same epoch', async () => {
    const first = await openAttempt(store, { stageUrl, owner: 'a' });
    const again = await openAttempt(store, { stageUrl, owner: 'a' });
    expect(again).toEqual(first);
  });

  it('gives claims that race an epoch each', async () => {
    const owners = Array.from({ length: 8 }, (_, index) => `owner-${String(index)}`);
    const claims = await Promise.all(owners.map((owner) => openAttempt(store, { stageUrl, owner })));
    expect(claims.map(({ epoch }) => Number(epoch)).sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it('gives claims that race for one owner a single epoch', async () => {
    const claims = await Promise.all(
      Array.from({ length: 8 }, () => openAttempt(store, { stageUrl, owner: 'a' })),
    );
    expect(new Set(claims.map(({ epoch }) => Number(epoch)))).toEqual(new Set([1]));
  });

  it('lets one of 32 writers win each of 8 races for HEAD', async () => {
    const url = stageLayout(stageUrl).head;
    for (let round = 0; round < 8; round += 1) {
      const { etag } = await store.get(url);
      const bodies = Array.from({ length: 32 }, (_, index) => encodeJson({ round, index }));
      const answers = await Promise.allSettled(bodies.map((body) => store.replace(url, body, etag)));
      const winners = bodies.filter((_, index) => answers[index]?.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      expect(Buffer.from((await store.get(url)).data)).toEqual(winners[0]);
    }
  });
});

describe('a claim keeps what was committed', () => {
  it('moves only epoch and owner', async () => {
    const commit = await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 5);
    const { head } = await openAttempt(store, { stageUrl, owner: 'next' });
    expect(head.commit).toEqual(commit);
  });

  it('fences the attempt before: it can upload but not publish', async () => {
    const superseded = await claim(store, stageUrl);
    const commit = await commitCheckpoint(store, stageUrl, superseded, 1);
    await claim(store, stageUrl);
    await expect(commitCheckpoint(store, stageUrl, superseded, 2)).rejects.toThrow('fenced');
    expect((await readHead(store, stageUrl)).value.commit).toEqual(commit);
  });

  it('goes back to an earlier commit only when told so, and drops what came after it', async () => {
    const epoch = await claim(store, stageUrl);
    const first = await commitCheckpoint(store, stageUrl, epoch, 1);
    const second = await commitCheckpoint(store, stageUrl, epoch, 2);
    await commitCheckpoint(store, stageUrl, epoch, 3);
    await openAttempt(store, { stageUrl, owner: 'back', from: { at: 'commit', commit: second } });
    const line = await readLine(store, stageUrl);
    expect(line.map(({ commit }) => commit)).toEqual([second, first]);
  });

  it('starts from nothing only when told so', async () => {
    await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 1);
    const { head } = await openAttempt(store, { stageUrl, owner: 'zero', from: { at: 'zero' } });
    expect([head.commit, head.ancestors]).toEqual([null, []]);
  });
});

describe('a missing HEAD is never step zero', () => {
  it('refuses to read or claim', async () => {
    const nowhere = `${freshPrefix()}/runs/r/stages/01-a`;
    await expect(readHead(store, nowhere)).rejects.toThrow('HEAD is missing');
    await expect(openAttempt(store, { stageUrl: nowhere, owner: 'a' })).rejects.toThrow('HEAD is missing');
  });

  it('refuses to make an empty one where checkpoints are', async () => {
    await uploadCheckpoint(store, stageUrl, await claim(store, stageUrl), 1);
    await store.delete([stageLayout(stageUrl).head]);
    await expect(createEmptyHead(store, stageUrl)).rejects.toMatchObject({ code: 'invalid-object' });
  });

  it('refuses to make an empty one where an attempt left something', async () => {
    await store.put(stageLayout(stageUrl).log(await claim(store, stageUrl)), Buffer.from('a line'));
    await store.delete([stageLayout(stageUrl).head]);
    await expect(createEmptyHead(store, stageUrl)).rejects.toMatchObject({ code: 'invalid-object' });
  });

  it('leaves the one that is there when a stage is started twice', async () => {
    await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 1);
    const before = await readHead(store, stageUrl);
    expect(await createEmptyHead(store, stageUrl)).toEqual(before.value);
  });

  it('refuses one that breaks its contract, naming the field', async () => {
    await store.put(stageLayout(stageUrl).head, encodeJson({ epoch: 1 }));
    await expect(readHead(store, stageUrl)).rejects.toThrow(/\$\.nonce/);
  });
});
