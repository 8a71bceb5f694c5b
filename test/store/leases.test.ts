import { beforeEach, describe, expect, it } from 'vitest';
import { epochSchema } from '../../src/contracts/index.js';
import { stageLayout } from '../../src/contracts/layout.js';
import { encodeJson, readLease, renewLease } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { HOUR_MS, withClockAhead } from '../support/clock.js';
import { freshPrefix, startStage, useS3Server } from './support.js';

/** What S3's stores allow a clock to be off, and more than the leases here hold. */
const OFF_MS = 600_000;
const ALL_OFF_MS = [-HOUR_MS, -OFF_MS, OFF_MS, HOUR_MS];
const EPOCH = epochSchema.parse(3);

const server = useS3Server();
let store: ObjectStore;
let stageUrl: string;

beforeEach(async () => {
  store = server.current.connect();
  stageUrl = await startStage(store);
});

describe('a lease holds by the clock of the store alone', () => {
  it('while it is renewed, and no longer', async () => {
    expect(await readLease(store, stageUrl)).toBeNull();
    await renewLease(store, stageUrl, EPOCH, 60);
    expect(await readLease(store, stageUrl)).toEqual({ epoch: EPOCH, isLive: true });
    await renewLease(store, stageUrl, EPOCH, 0);
    await expect.poll(() => readLease(store, stageUrl), { timeout: 10_000 }).toMatchObject({ isLive: false });
  });

  it.each(ALL_OFF_MS)('whatever the clock of who renews it says (%i ms off)', async (aheadMs) => {
    await withClockAhead(aheadMs, () => renewLease(store, stageUrl, EPOCH, 60));
    expect(await readLease(store, stageUrl)).toMatchObject({ isLive: true });
  });

  it.each(ALL_OFF_MS)('whatever the clock of who reads it says (%i ms off)', async (aheadMs) => {
    await renewLease(store, stageUrl, EPOCH, 60);
    expect(await withClockAhead(aheadMs, () => readLease(store, stageUrl))).toMatchObject({ isLive: true });
  });

  it('of a worker of an earlier version counts as long as the longest that such a one promised', async () => {
    const expiresAt = new Date(Date.now() - OFF_MS).toISOString();
    const lease = { schema: 'longhaul.lease/1', epoch: 3, expiresAt };
    await store.put(stageLayout(stageUrl).lease, encodeJson(lease));
    expect(await readLease(store, stageUrl)).toEqual({ epoch: 3, isLive: true });
  });
});

describe('a machine whose clock is set while it works', () => {
  it.each([-HOUR_MS, HOUR_MS])(
    'goes on writing and reading: wrong by %i ms, and right again',
    async (aheadMs) => {
      const url = `${freshPrefix()}/object.json`;
      await store.put(url, encodeJson({ clock: 'right' }));
      await withClockAhead(aheadMs, () => store.put(url, encodeJson({ clock: 'wrong' })));
      await store.put(url, encodeJson({ clock: 'right again' }));
      expect(JSON.parse(Buffer.from((await store.get(url)).data).toString())).toEqual({
        clock: 'right again',
      });
      await withClockAhead(-aheadMs, () => store.create(`${url}.2`, encodeJson({ clock: 'wrong' })));
      expect(await store.exists(`${url}.2`)).toBe(true);
    },
  );
});

describe('the store tells what time it is', () => {
  it.each(ALL_OFF_MS)('whatever this machine thinks (%i ms off)', async (aheadMs) => {
    const now = await withClockAhead(aheadMs, () => store.now(stageUrl));
    expect(Math.abs(Number(now) - Date.now())).toBeLessThan(60_000);
  });
});
