/**
 * `lease.json` of a stage: while it is renewed somebody watches the job; one that sees it stay the same stops by itself. Whether it
 * holds is told by the store's own clock alone: when it was written, and what time the store says it is now.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { leaseSchema } from '../contracts/index.js';
import type { Epoch, Lease } from '../contracts/index.js';
import { stageLayout } from '../contracts/layout.js';
import { parseJson } from './object-store.js';
import type { ObjectStore } from './object-store.js';

/** Renews the lease of an epoch for so many seconds from now. */
export async function renewLease(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
  seconds: number,
): Promise<Lease> {
  const lease: Lease = {
    schema: 'longhaul.lease/2',
    epoch,
    renewal: randomBytes(16).toString('hex'),
    seconds,
    renewedAt: new Date().toISOString(),
  };
  await store.putJson(stageLayout(stageUrl).lease, leaseSchema, lease);
  return lease;
}

/** A lease as somebody finds it. */
export interface FoundLease {
  readonly epoch: number;
  /** Whether somebody has renewed it lately. One whose age the store doesn't tell counts as renewed. */
  readonly isLive: boolean;
}

/** What workers of earlier versions write. */
const olderSchema = z.looseObject({ schema: z.literal('longhaul.lease/1'), epoch: z.int() });
/** The longest that they promise. */
const OLDER_SECONDS = 900;
/** Both of the store's times come in whole seconds. */
const ROUNDING_SECONDS = 1;

/** The lease, null when there is none. */
export async function readLease(store: ObjectStore, stageUrl: string): Promise<FoundLease | null> {
  const url = stageLayout(stageUrl).lease;
  const found = await store.find(url);
  if (found === null) return null;
  const lease = parseJson(url, found.data, z.union([leaseSchema, olderSchema]));
  const seconds = lease.schema === 'longhaul.lease/2' ? lease.seconds : OLDER_SECONDS;
  const { ageSeconds } = found;
  return { epoch: lease.epoch, isLive: ageSeconds === null || ageSeconds <= seconds + ROUNDING_SECONDS };
}
