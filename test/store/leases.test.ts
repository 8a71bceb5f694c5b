import { beforeEach, describe, expect, it, vi } from 'vitest';
import { epochSchema } from '../../src/contracts/index.js';
import { encodeJson, readLease, renewLease, stageLayout } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { startStage, useS3Server } from './support.js';

/** Less than S3's stores allow a clock to be off, and more than the leases here hold. */
const OFF_MS = 600_000;
const EPOCH = epochSchema.parse(3);

const server = useS3Server();
let store: ObjectStore;
let stageUrl: string;

beforeEach(async () => {
  store = server.current.connect();
  stageUrl = await startStage(store);
});

/** Does something with this process's clock ahead (behind) by so much. The store's own clock stays right. */
async function withClock<T>(aheadMs: number, work: () => Promise<T>): Promise<T> {
  const now = Date.now.bind(Date);
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
  try {
    return await work();
  } finally {
    clock.mockRestore();
  }
}

describe('a lease holds by the clock of the store alone', () => {
  it('while it is renewed, and no longer', async () => {
    expect(await readLease(store, stageUrl)).toBeNull();
    await renewLease(store, stageUrl, EPOCH, 60);
    expect(await readLease(store, stageUrl)).toEqual({ epoch: EPOCH, isLive: true });
    await renewLease(store, stageUrl, EPOCH, 0);
    await expect.poll(() => readLease(store, stageUrl), { timeout: 10_000 }).toMatchObject({ isLive: false });
  });

  it.each([-OFF_MS, OFF_MS])('whatever the clock of who renews it says (%i ms off)', async (aheadMs) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + aheadMs });
    try {
      await renewLease(store, stageUrl, EPOCH, 60);
    } finally {
      vi.useRealTimers();
    }
    expect(await readLease(store, stageUrl)).toMatchObject({ isLive: true });
  });

  it.each([-OFF_MS, OFF_MS])('whatever the clock of who reads it says (%i ms off)', async (aheadMs) => {
    await renewLease(store, stageUrl, EPOCH, 60);
    expect(await withClock(aheadMs, () => readLease(store, stageUrl))).toMatchObject({ isLive: true });
  });

  it('of a worker of an earlier version counts as long as the longest that such a one promised', async () => {
    const expiresAt = new Date(Date.now() - OFF_MS).toISOString();
    const lease = { schema: 'longhaul.lease/1', epoch: 3, expiresAt };
    await store.put(stageLayout(stageUrl).lease, encodeJson(lease));
    expect(await readLease(store, stageUrl)).toEqual({ epoch: 3, isLive: true });
  });
});

describe('the store tells what time it is', () => {
  it('whatever this machine thinks', async () => {
    const now = await withClock(OFF_MS, () => store.now(stageUrl));
    expect(Math.abs(Number(now) - Date.now())).toBeLessThan(60_000);
  });
});
