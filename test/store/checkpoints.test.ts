import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Epoch, HeadCommit } from '../../src/contracts/index.js';
import { stageLayout } from '../../src/contracts/layout.js';
import {
  checkpointRef,
  loadCheckpoint,
  moveHead,
  newestVerified,
  openAttempt,
  pinCheckpoint,
  readLine,
  readManifest,
  readQuarantine,
  verifyCheckpoint,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import {
  CHECKPOINT_FILES,
  claim,
  commitCheckpoint,
  flipBit,
  startStage,
  truncateFile,
  useS3Server,
  weightsOf,
} from './support.js';

const server = useS3Server();
let store: ObjectStore;
let stageUrl: string;
let epoch: Epoch;

beforeEach(async () => {
  store = server.current.connect();
  stageUrl = await startStage(store);
  epoch = await claim(store, stageUrl);
});

const fileOf = (commit: HeadCommit, name: string): string =>
  server.current.fileOf(`${stageLayout(stageUrl).checkpoint(commit.id)}/${name}`);

/** Damage below the server, which does not hear of it. */
const damages = {
  'a flipped bit': flipBit,
  'a truncated file': truncateFile,
  'a missing file': (file: string) => rm(file),
};
const files = [...CHECKPOINT_FILES, 'manifest.json'] as const;
const cases = Object.entries(damages).flatMap(([kind, damage]) =>
  files.map((file) => ({ kind, file, damage })),
);

describe('a checkpoint that verifies is what was committed', () => {
  it.each(['stored', 'audited'] as const)('finds no problem at level %s', async (level) => {
    const ref = checkpointRef(stageUrl, await commitCheckpoint(store, stageUrl, epoch, 7));
    expect(await verifyCheckpoint(store, ref, level)).toEqual({ commit: ref.commit, level, problems: [] });
  });

  it('loads into a folder', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'longhaul-load-'));
    try {
      const ref = checkpointRef(stageUrl, await commitCheckpoint(store, stageUrl, epoch, 7));
      expect((await loadCheckpoint(store, ref, folder)).problems).toEqual([]);
      expect(await readFile(path.join(folder, 'model.safetensors'), 'utf8')).toBe(weightsOf(7));
      expect(await readFile(path.join(folder, 'optimizer/rank-0'), 'utf8')).toBe('m'.repeat(7));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('is named by its manifest’s digest: another manifest in its place is refused', async () => {
    const commit = await commitCheckpoint(store, stageUrl, epoch, 7);
    const other = await commitCheckpoint(store, stageUrl, epoch, 8);
    const ref = { ...checkpointRef(stageUrl, commit), manifestDigest: other.manifestDigest };
    await expect(readManifest(store, ref)).rejects.toMatchObject({ code: 'invalid-object' });
  });
});

describe('damage is found', () => {
  it.each(cases)('$kind ($file), by reading every byte', async ({ file, damage }) => {
    const commit = await commitCheckpoint(store, stageUrl, epoch, 7);
    await damage(fileOf(commit, file));
    const found = await verifyCheckpoint(store, checkpointRef(stageUrl, commit), 'audited');
    expect(found.problems.join()).toContain(file);
  });

  it.each(['a truncated file', 'a missing file'] as const)('%s, by asking the store', async (kind) => {
    const commit = await commitCheckpoint(store, stageUrl, epoch, 7);
    await damages[kind](fileOf(commit, 'model.safetensors'));
    const found = await verifyCheckpoint(store, checkpointRef(stageUrl, commit), 'stored');
    expect(found.problems).toHaveLength(1);
  });

  it('other bytes of the same size under the same name, by the checksum that the store reports', async () => {
    const commit = await commitCheckpoint(store, stageUrl, epoch, 7);
    const url = `${stageLayout(stageUrl).checkpoint(commit.id)}/optimizer/rank-0`;
    await store.put(url, Buffer.from('x'.repeat(7)));
    const found = await verifyCheckpoint(store, checkpointRef(stageUrl, commit), 'stored');
    expect(found.problems).toEqual(['optimizer/rank-0: the store reports another checksum']);
  });

  it('while it loads', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'longhaul-load-'));
    try {
      const commit = await commitCheckpoint(store, stageUrl, epoch, 7);
      await flipBit(fileOf(commit, 'model.safetensors'));
      const found = await loadCheckpoint(store, checkpointRef(stageUrl, commit), folder);
      expect(found.problems.join()).toContain('model.safetensors');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a run resumes from the newest checkpoint that verifies', () => {
  it.each(cases)('past $kind in the newest ($file)', async ({ file, damage }) => {
    const good = await commitCheckpoint(store, stageUrl, epoch, 1);
    const bad = await commitCheckpoint(store, stageUrl, epoch, 2);
    await damage(fileOf(bad, file));
    const found = await newestVerified(store, stageUrl, 'audited', epoch);
    expect(found.commit).toEqual(good);
    expect(found.passedOver.map(({ commit }) => commit)).toEqual([bad.id]);
    expect(await readQuarantine(store, stageUrl, bad.id)).toMatchObject({ id: bad.id, epoch });
  });

  it.each(cases)('past $kind in the newest two ($file)', async ({ file, damage }) => {
    const good = await commitCheckpoint(store, stageUrl, epoch, 1);
    const bad = [
      await commitCheckpoint(store, stageUrl, epoch, 2),
      await commitCheckpoint(store, stageUrl, epoch, 3),
    ];
    for (const commit of bad) await damage(fileOf(commit, file));
    const found = await newestVerified(store, stageUrl, 'audited', epoch);
    expect(found.commit).toEqual(good);
    expect(found.passedOver.map(({ commit }) => commit)).toEqual(bad.map(({ id }) => id).reverse());
  });

  it('and says so, instead of starting from zero, when none does', async () => {
    const commit = await commitCheckpoint(store, stageUrl, epoch, 1);
    await flipBit(fileOf(commit, 'model.safetensors'));
    await expect(newestVerified(store, stageUrl, 'audited', epoch)).rejects.toThrow(
      `no checkpoint verifies; tried ${commit.id}`,
    );
  });

  it('and from zero where nothing was ever committed', async () => {
    expect(await newestVerified(store, stageUrl, 'audited')).toEqual({ commit: null, passedOver: [] });
  });

  it('passing over what was quarantined before, without reading it again', async () => {
    const good = await commitCheckpoint(store, stageUrl, epoch, 1);
    const bad = await commitCheckpoint(store, stageUrl, epoch, 2);
    await flipBit(fileOf(bad, 'model.safetensors'));
    await newestVerified(store, stageUrl, 'audited', epoch);
    await flipBit(fileOf(bad, 'model.safetensors'));
    const again = await newestVerified(store, stageUrl, 'audited', epoch);
    expect(again.commit).toEqual(good);
    expect(again.passedOver[0]?.problems[0]).toBe('quarantined');
  });

  it('marking nothing when only asked to look', async () => {
    await commitCheckpoint(store, stageUrl, epoch, 1);
    const bad = await commitCheckpoint(store, stageUrl, epoch, 2);
    await flipBit(fileOf(bad, 'model.safetensors'));
    await newestVerified(store, stageUrl, 'audited');
    expect(await readQuarantine(store, stageUrl, bad.id)).toBeNull();
  });

  it('marking nothing that HEAD has left behind meanwhile: retention deletes such checkpoints', async () => {
    await commitCheckpoint(store, stageUrl, epoch, 1);
    const gone = await commitCheckpoint(store, stageUrl, epoch, 2);
    await rm(fileOf(gone, 'model.safetensors'));
    const racing = server.current.connect();
    const readHere = racing.head.bind(racing);
    let moved = false;
    racing.head = async (url) => {
      if (!moved) {
        moved = true;
        await moveHead(store, stageUrl, (head) => ({
          ...head,
          commit: head.ancestors[0] ?? null,
          ancestors: [],
        }));
      }
      return readHere(url);
    };
    await newestVerified(racing, stageUrl, 'stored', epoch);
    expect(await readQuarantine(store, stageUrl, gone.id)).toBeNull();
  });
});

describe('the line of commits is HEAD’s own account, never a listing', () => {
  it('needs no readable manifest of what it goes past', async () => {
    const commits = [];
    for (const step of [1, 2, 3]) commits.unshift(await commitCheckpoint(store, stageUrl, epoch, step));
    for (const commit of commits) await rm(fileOf(commit, 'manifest.json'));
    expect((await readLine(store, stageUrl)).map(({ commit }) => commit)).toEqual(commits);
  });

  it('does not hold what was abandoned by going back', async () => {
    const first = await commitCheckpoint(store, stageUrl, epoch, 1);
    await commitCheckpoint(store, stageUrl, epoch, 2);
    const back = await openAttempt(store, { stageUrl, owner: 'b', from: { at: 'commit', commit: first } });
    const again = await commitCheckpoint(store, stageUrl, back.epoch, 2);
    expect((await readLine(store, stageUrl)).map(({ commit }) => commit)).toEqual([again, first]);
  });
});

describe('a pin holds or is refused', () => {
  it('refuses to pin what is gone, and leaves nothing behind of it', async () => {
    const commit = await commitCheckpoint(store, stageUrl, epoch, 1);
    await store.delete([
      stageLayout(stageUrl).manifest(commit.id),
      ...CHECKPOINT_FILES.map((file) => `${stageLayout(stageUrl).checkpoint(commit.id)}/${file}`),
    ]);
    const pin = { name: 'result', reason: 'asked for by hand' };
    const pinning = pinCheckpoint(store, checkpointRef(stageUrl, commit), pin);
    await expect(pinning).rejects.toMatchObject({ code: 'not-found' });
    expect(await store.folders(stageLayout(stageUrl).checkpoints)).toEqual([]);
  });
});
