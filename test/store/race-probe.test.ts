import { afterEach, describe, expect, it } from 'vitest';
import { rootLayout } from '../../src/contracts/layout.js';
import { UnsafeStoreError, probeConditionalWrites } from '../../src/store/index.js';
import { startLyingS3 } from '../support/lying-s3.js';
import type { Lie, LyingS3 } from '../support/lying-s3.js';
import { NOBODY } from '../support/s3-server.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
const liars: LyingS3[] = [];

afterEach(async () => {
  for (const liar of liars.splice(0)) await liar.stop();
});

async function probe(lie: Lie): Promise<void> {
  const liar = await startLyingS3(lie);
  liars.push(liar);
  const store = server.current.connect({ endpoint: liar.endpoint });
  await probeConditionalWrites(store, rootLayout(freshPrefix()).probes);
}

describe('a store is probed before anything is committed to it', () => {
  it('accepts a store whose conditional writes hold, and leaves nothing there', async () => {
    const store = server.current.connect();
    const { probes } = rootLayout(freshPrefix());
    await probeConditionalWrites(store, probes, { rounds: 8, writers: 32 });
    const left = [];
    for await (const { url } of store.list(probes)) left.push(url);
    expect(left).toEqual([]);
  });

  it('accepts a fake store that does not lie, so that what follows is about the lies', async () => {
    await expect(probe('honest')).resolves.toBeUndefined();
  });

  it('accepts one that sends writers back which only met', async () => {
    await expect(probe('sends-writers-back')).resolves.toBeUndefined();
  });

  it.each<[Lie, RegExp]>([
    ['ignores-if-match', /If-Match let 16 writers win one race; If-Match overwrote an object/],
    ['ignores-if-none-match', /If-None-Match: \* let 16 writers win one race; If-None-Match: \* overwrote/],
    ['checks-then-writes', /If-None-Match: \* let \d+ writers win one race; If-Match let \d+ writers win/],
    ['creates-by-if-match', /If-Match wrote an object where none was/],
    ['keeps-another', /told one writer that it won and kept another's object/],
  ])('refuses one that %s, naming what did not hold', async (lie, problem) => {
    const refused = probe(lie);
    await expect(refused).rejects.toBeInstanceOf(UnsafeStoreError);
    await expect(refused).rejects.toThrow(problem);
  });

  it('does not call a store unsafe that does not answer', async () => {
    const store = server.current.connect({ endpoint: NOBODY, maxAttempts: 1 });
    await expect(probeConditionalWrites(store, freshPrefix())).rejects.toMatchObject({ code: 'unavailable' });
  });
});
