/** Figures of an ended attempt: how far it got, and where its seconds went. */
import { z } from 'zod';
import type { Epoch, HeadCommit, Outcome } from '../../src/contracts/index.js';
import { stepReached } from '../../src/domain/attempt/facts.js';
import type { AttemptFacts, ToldCommit } from '../../src/domain/attempt/facts.js';
import type { AttemptSeconds } from '../../src/domain/ledger/records.js';
import { partsOfCommitId, stageLayout } from '../../src/contracts/layout.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import type { JobEnd } from './job.js';

/** What the ledger and the stage's workflow are told. */
export interface AttemptFigures {
  /** Last optimizer step done; of an evaluation, samples done. */
  readonly step: number;
  readonly tokens: number;
  readonly seconds: AttemptSeconds;
  /** From the claim to the job's end, seconds. */
  readonly wallSeconds: number;
  /** Where the job ran; null where the backend doesn't say. */
  readonly node: string | null;
}

/** Seconds in which an attempt may have held devices: all but those in which it waited for a place. */
export function heldSecondsOf({
  wallSeconds,
  seconds,
}: Pick<AttemptFigures, 'wallSeconds' | 'seconds'>): number {
  return Math.max(0, wallSeconds - seconds.queued);
}

/**
 * What the store's clock alone says of the seconds from an attempt's claim to its job's end: they are neither fewer nor more. The same
 * number twice where the job left an outcome.
 */
export interface StoreSpan {
  readonly leastSeconds: number;
  readonly mostSeconds: number;
}

/**
 * From the job's own account where it left one, else from what its events told. The claim is an instant of the worker's clock, the
 * end one of the job's machine or its backend: their difference counts as far as it lies in the span by the store's clock, and else the
 * end of the span that is nearer. So two clocks that disagree make an attempt at most as wrong as the span is long: nothing where there
 * is an outcome; without one, what passed between the job's last sign of life and whoever recorded its end.
 */
export function figuresOf(
  { claimedAt }: { readonly claimedAt: string },
  outcome: Outcome | null,
  facts: AttemptFacts,
  { ended, hungSeconds, stoppingSeconds }: JobEnd,
  byStore: StoreSpan | null,
): AttemptFigures {
  const own = outcome?.seconds ?? { ...NOTHING, step: facts.stepSeconds };
  const byClocks = secondsBetween(claimedAt, ended.endedAt);
  const corrected = byStore === null ? byClocks : within(byClocks, byStore);
  const agree = Math.abs(corrected - byClocks) <= STORE_TOLERANCE_SECONDS;
  const wallSeconds = Math.max(0, agree ? byClocks : corrected);
  // One that was killed has left no account of its own; then the backend says when it started.
  const started = outcome ?? ended;
  const queued = Math.max(0, queuedSeconds(claimedAt, started, agree ? null : wallSeconds));
  const samples = outcome?.result === 'evaluated' ? outcome.samples : facts.samples;
  return {
    step: stepReached({ step: outcome?.step ?? facts.step, samples }),
    tokens: outcome?.tokens ?? facts.tokens,
    seconds: { ...own, queued, hung: hungSeconds, stopping: stoppingSeconds },
    wallSeconds,
    node: ended.node ?? null,
  };
}

const NOTHING = { import: 0, load: 0, firstStep: 0, step: 0, save: 0, evaluate: 0, export: 0 };

/** A store tells whole seconds only, and an outcome is written a moment before the job is gone. */
const STORE_TOLERANCE_SECONDS = 3;

function within(seconds: number, { leastSeconds, mostSeconds }: StoreSpan): number {
  return Math.min(Math.max(seconds, leastSeconds), mostSeconds);
}

/** Before the job's start, which its own clock alone can tell only from its end. `wallSeconds`: null where the clocks agree. */
function queuedSeconds(
  claimedAt: string,
  { startedAt, endedAt }: { readonly startedAt?: string; readonly endedAt: string },
  wallSeconds: number | null,
): number {
  if (startedAt === undefined) return 0;
  return wallSeconds === null
    ? secondsBetween(claimedAt, startedAt)
    : wallSeconds - secondsBetween(startedAt, endedAt);
}

/** Less than nothing where two clocks disagree. */
function secondsBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}

/**
 * From an attempt's claim to its job's end by the store's clock alone: to its outcome; without one, to no sooner than the last that the
 * job, or a worker that watched it, wrote, and to now at the latest. Null: the store doesn't tell.
 */
export async function spanByStore(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
): Promise<StoreSpan | null> {
  const { attemptFile, outcome } = stageLayout(stageUrl);
  const [claimed, ended] = await Promise.all([store.find(attemptFile(epoch)), store.find(outcome(epoch))]);
  const claimAge = claimed?.ageSeconds ?? null;
  if (claimAge === null) return null;
  const since = (ageSeconds: number): number => Math.max(0, claimAge - ageSeconds);
  if (ended === null) {
    const lifeAge = await lastSignOfLife(store, stageUrl, epoch);
    return { leastSeconds: lifeAge === null ? 0 : since(lifeAge), mostSeconds: since(0) };
  }
  if (ended.ageSeconds === null) return null;
  return { leastSeconds: since(ended.ageSeconds), mostSeconds: since(ended.ageSeconds) };
}
/** Age by the store's clock of the newest that an attempt's job or watcher wrote, seconds; null: there is none, or it isn't told. */
async function lastSignOfLife(store: ObjectStore, stageUrl: string, epoch: Epoch): Promise<number | null> {
  const { events, lease } = stageLayout(stageUrl);
  const [now, renewed, told] = await Promise.all([
    store.now(stageUrl),
    store.find(lease),
    newestOf(store, events(epoch)),
  ]);
  const ages = now === null || told === null ? [] : [(+now - +told) / 1000];
  if (typeof renewed?.ageSeconds === 'number' && epochOf(renewed.data) === epoch)
    ages.push(renewed.ageSeconds);
  return ages.length === 0 ? null : Math.min(...ages);
}

async function newestOf(store: ObjectStore, prefixUrl: string): Promise<Date | null> {
  let newest: Date | null = null;
  for await (const { modifiedAt } of store.list(prefixUrl)) {
    if (modifiedAt !== null && (newest === null || modifiedAt > newest)) newest = modifiedAt;
  }
  return newest;
}

/** Whose lease it is; null: it can't be read, which here is nobody's trouble. */
function epochOf(lease: Uint8Array): number | null {
  try {
    return z.looseObject({ epoch: z.int() }).parse(JSON.parse(Buffer.from(lease).toString())).epoch;
  } catch {
    return null;
  }
}

/** Commits of an attempt: those it told of, and those that only `HEAD` knows of, because it died before it could tell. */
export function commitsMade(
  epoch: Epoch,
  named: readonly HeadCommit[],
  told: readonly ToldCommit[],
): ToldCommit[] {
  const own = named.filter(({ id }) => partsOfCommitId(id).epoch === epoch);
  const all = new Map<string, ToldCommit>();
  for (const { id, step, manifestDigest } of own) all.set(id, { id, step, manifestDigest });
  // What it told first counts: `HEAD` may have been changed since.
  for (const commit of told) all.set(commit.id, { ...all.get(commit.id), ...commit });
  return [...all.values()].sort((a, b) => a.step - b.step);
}
