/** Finds out by trying whether a store's conditional writes hold: everything about one writer rests on them. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { objectUrl } from '../contracts/layout.js';
import { isStoreError } from './errors.js';
import { encodeJson } from './object-store.js';
import type { ObjectStore } from './object-store.js';

/** Tries of a conditional write whose answers tell nothing. */
const UNCLEAR_TRIES = 6;

/** How hard to try. */
export interface RaceProbeOptions {
  /** Races of each kind. Default 4. */
  readonly rounds?: number | undefined;
  /** Writers in each race. Default 16. */
  readonly writers?: number | undefined;
}

/** The store's conditional writes do not hold; nothing must be committed to it. */
export class UnsafeStoreError extends Error {
  override readonly name = 'UnsafeStoreError';

  constructor(readonly problems: readonly string[]) {
    super(`the store's conditional writes do not hold: ${problems.join('; ')}`);
  }
}

/**
 * Lets writers race for one object, by `If-None-Match: *` and by `If-Match`, and tries writes that must be refused: over an
 * object that is there, over one that has changed, and by `If-Match` where none is.
 * `probesUrl`: a prefix for scratch objects, which are deleted again.
 * @throws UnsafeStoreError naming what did not hold; StoreError when the store cannot be reached.
 */
export async function probeConditionalWrites(
  store: ObjectStore,
  probesUrl: string,
  { rounds = 4, writers = 16 }: RaceProbeOptions = {},
): Promise<void> {
  const problems = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const url = objectUrl(probesUrl, `${randomBytes(8).toString('hex')}.json`);
    try {
      await raceToCreate(store, url, writers, problems);
      await raceToReplace(store, url, writers, problems);
      await replaceMissing(store, url, problems);
    } finally {
      await store.delete([url]);
    }
  }
  if (problems.size > 0) throw new UnsafeStoreError([...problems]);
}

async function raceToCreate(
  store: ObjectStore,
  url: string,
  writers: number,
  problems: Set<string>,
): Promise<void> {
  const winners = await race(writers, (body) => creates(store, url, body));
  await judge(store, url, winners, 'If-None-Match: *', problems);
  if (await creates(store, url, contents())) {
    problems.add('If-None-Match: * overwrote an object that was there');
  }
}

async function raceToReplace(
  store: ObjectStore,
  url: string,
  writers: number,
  problems: Set<string>,
): Promise<void> {
  const { etag } = await store.get(url);
  const winners = await race(writers, (body) => replaces(store, url, body, etag));
  await judge(store, url, winners, 'If-Match', problems);
  if (await replaces(store, url, contents(), etag)) {
    problems.add('If-Match overwrote an object that had changed');
  }
}

/** A HEAD that was deleted must not come back by the commit of a trainer that still knows its ETag. */
async function replaceMissing(store: ObjectStore, url: string, problems: Set<string>): Promise<void> {
  const { etag } = await store.get(url);
  await store.delete([url]);
  if (await replaces(store, url, contents(), etag)) {
    problems.add('If-Match wrote an object where none was');
  }
}

/** The bodies whose write was said to have succeeded. */
async function race(writers: number, write: (body: Uint8Array) => Promise<boolean>): Promise<Uint8Array[]> {
  const outcomes = await Promise.all(
    Array.from({ length: writers }, async () => {
      const body = contents();
      return (await write(body)) ? body : null;
    }),
  );
  return outcomes.filter((body) => body !== null);
}

async function judge(
  store: ObjectStore,
  url: string,
  winners: readonly Uint8Array[],
  condition: string,
  problems: Set<string>,
): Promise<void> {
  if (winners.length > 1) problems.add(`${condition} let ${String(winners.length)} writers win one race`);
  const { data } = await store.get(url);
  const [winner] = winners;
  // No winner at all is no proof: an answer may have been lost. That somebody else's body is there is one.
  if (winners.length === 1 && winner !== undefined && Buffer.compare(winner, data) !== 0) {
    problems.add(`${condition} told one writer that it won and kept another's object`);
  }
}

async function creates(store: ObjectStore, url: string, body: Uint8Array): Promise<boolean> {
  try {
    await store.create(url, body);
    return true;
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) return false;
    throw error;
  }
}

/** Whether a conditional write applied. A store may tell writers that only met to try again (409); what is there then decides. */
async function replaces(store: ObjectStore, url: string, body: Uint8Array, etag: string): Promise<boolean> {
  for (let tries = 0; ; tries += 1) {
    try {
      await store.replace(url, body, etag);
      return true;
    } catch (error) {
      if (isStoreError(error, 'precondition-failed', 'not-found')) return false;
      if (!isStoreError(error, 'unavailable') || tries === UNCLEAR_TRIES) throw error;
    }
    const found = await store.find(url);
    if (found === null) return false;
    if (found.etag !== etag) return Buffer.compare(found.data, body) === 0;
    await sleep(Math.random() * 20 * 2 ** tries);
  }
}

function contents(): Uint8Array {
  return encodeJson({ probe: randomBytes(16).toString('hex') });
}
