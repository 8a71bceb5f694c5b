/** Figures of an ended attempt: how far it got, and where its seconds went. */
import type { Epoch, HeadCommit, Outcome } from '../../src/contracts/index.js';
import { stepReached } from '../../src/domain/attempt/facts.js';
import type { AttemptFacts, ToldCommit } from '../../src/domain/attempt/facts.js';
import type { AttemptSeconds } from '../../src/domain/ledger/records.js';
import { partsOfCommitId, stageLayout } from '../../src/store/layout.js';
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
 * From the job's own account where it left one, else from what its events told. `byStore`: seconds from the claim to the outcome as
 * `secondsByStore` says, which count where the clocks of the worker and of the job's machine disagree with them.
 */
export function figuresOf(
  { claimedAt }: { readonly claimedAt: string },
  outcome: Outcome | null,
  facts: AttemptFacts,
  { ended, hungSeconds, stoppingSeconds }: JobEnd,
  byStore: number | null,
): AttemptFigures {
  const own = outcome?.seconds ?? { ...NOTHING, step: facts.stepSeconds };
  const byClocks = secondsBetween(claimedAt, ended.endedAt);
  const agree = byStore === null || Math.abs(byStore - byClocks) <= STORE_TOLERANCE_SECONDS;
  const wallSeconds = agree ? Math.max(0, byClocks) : byStore;
  // One that was killed has left no account of its own; then the backend says when it started.
  const started = outcome ?? ended;
  const queued = Math.max(0, queuedSeconds(claimedAt, started, agree ? null : byStore));
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

/** Before the job's start, which its own clock alone can tell only from its end. `byStore`: null where the clocks agree. */
function queuedSeconds(
  claimedAt: string,
  { startedAt, endedAt }: { readonly startedAt?: string; readonly endedAt: string },
  byStore: number | null,
): number {
  if (startedAt === undefined) return 0;
  return byStore === null
    ? secondsBetween(claimedAt, startedAt)
    : byStore - secondsBetween(startedAt, endedAt);
}

/** Less than nothing where two clocks disagree. */
function secondsBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}

/** From an attempt's claim to its outcome by the store's clock alone; null: there is no outcome, or the store doesn't tell. */
export async function secondsByStore(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
): Promise<number | null> {
  const { attemptFile, outcome } = stageLayout(stageUrl);
  const [claimed, ended] = await Promise.all([store.find(attemptFile(epoch)), store.find(outcome(epoch))]);
  if (typeof claimed?.ageSeconds !== 'number' || typeof ended?.ageSeconds !== 'number') return null;
  return Math.max(0, claimed.ageSeconds - ended.ageSeconds);
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
