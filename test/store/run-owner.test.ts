import { beforeEach, describe, expect, it } from 'vitest';
import { runLayout } from '../../src/contracts/layout.js';
import { RunOwnedByOtherError, ownRun, sha256 } from '../../src/store/index.js';
import type { ObjectStore, OwnRunInput } from '../../src/store/index.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
let store: ObjectStore;
let wish: OwnRunInput;

beforeEach(() => {
  store = server.current.connect();
  wish = {
    namespace: 'default',
    workflowId: 'run-a',
    recipeDigest: sha256('recipe'),
    runUrl: `${freshPrefix()}/runs/a`,
  };
});

describe('a run’s prefix has one owner', () => {
  it('belongs to the first, who finds it again after a restart', async () => {
    expect(await ownRun(store, wish)).toEqual({ state: 'created' });
    expect(await ownRun(store, wish)).toEqual({ state: 'owned' });
  });

  it('belongs to one of those who race for it', async () => {
    const wishes = Array.from({ length: 16 }, (_, index) => ({
      ...wish,
      workflowId: `run-${String(index)}`,
    }));
    const answers = await Promise.allSettled(wishes.map((one) => ownRun(store, one)));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === 'rejected') expect(answer.reason).toBeInstanceOf(RunOwnedByOtherError);
    }
  });

  it.each([
    ['another namespace', { namespace: 'staging' }, 'its Temporal namespace is default, not staging'],
    ['another workflow', { workflowId: 'run-b' }, 'its workflow is run-a, not run-b'],
    ['another recipe', { recipeDigest: sha256('other') }, /its recipe is sha256:\w+, not sha256:/],
  ])('is refused to %s, saying what differs', async (_, change, message) => {
    await ownRun(store, wish);
    const refused = ownRun(store, { ...wish, ...change });
    await expect(refused).rejects.toBeInstanceOf(RunOwnedByOtherError);
    await expect(refused).rejects.toThrow(message);
  });

  it('is handed over only when a takeover is asked for, which names the owner before', async () => {
    await ownRun(store, wish);
    const other = { ...wish, namespace: 'staging' };
    const taken = await ownRun(store, { ...other, takeover: true });
    expect(taken).toMatchObject({ state: 'taken-over', from: { namespace: 'default' } });
    expect(await ownRun(store, other)).toEqual({ state: 'owned' });
    await expect(ownRun(store, wish)).rejects.toBeInstanceOf(RunOwnedByOtherError);
  });

  it('is not given away when its owner’s name cannot be read', async () => {
    await store.put(runLayout(wish.runUrl).owner, Buffer.from('{}'));
    await expect(ownRun(store, wish)).rejects.toMatchObject({ code: 'invalid-object' });
  });
});
