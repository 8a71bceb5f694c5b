/** `lease.json` of a stage: while it is renewed somebody watches the job; one that reads it expired stops by itself. */
import { leaseSchema } from '../contracts/index.js';
import type { Epoch, Lease } from '../contracts/index.js';
import { stageLayout } from './layout.js';
import type { ObjectStore } from './object-store.js';

/** Renews the lease of an epoch for so many seconds from now. */
export async function renewLease(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
  seconds: number,
): Promise<Lease> {
  const lease: Lease = {
    schema: 'longhaul.lease/1',
    epoch,
    expiresAt: new Date(Date.now() + seconds * 1_000).toISOString(),
  };
  await store.putJson(stageLayout(stageUrl).lease, leaseSchema, lease);
  return lease;
}

/** The lease, null when there is none. */
export async function readLease(store: ObjectStore, stageUrl: string): Promise<Lease | null> {
  return (await store.findJson(stageLayout(stageUrl).lease, leaseSchema))?.value ?? null;
}
