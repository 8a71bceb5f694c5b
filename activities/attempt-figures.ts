/** Figures of an ended attempt: how far it got, and where its seconds went. */
import type { Epoch, HeadCommit, Outcome } from '../src/contracts/index.js';
import type { AttemptSeconds } from '../src/domain/ledger.js';
import { partsOfCommitId } from '../src/store/layout.js';
import type { JobEnd, JobFacts, RecordedCommit } from './attempt-job.js';

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

/** From the job's own account where it left one, else from what its events told. */
export function figuresOf(
  { claimedAt }: { readonly claimedAt: string },
  outcome: Outcome | null,
  facts: JobFacts,
  { ended, hungSeconds, stoppingSeconds }: JobEnd,
): AttemptFigures {
  const own = outcome?.seconds ?? { ...NOTHING, step: facts.stepSeconds };
  const queued = outcome === null ? 0 : secondsBetween(claimedAt, outcome.startedAt);
  const samples = outcome?.result === 'evaluated' ? outcome.samples : facts.samples;
  return {
    step: Math.max(outcome?.step ?? facts.step, samples),
    tokens: outcome?.tokens ?? facts.tokens,
    seconds: { ...own, queued, hung: hungSeconds, stopping: stoppingSeconds },
    wallSeconds: secondsBetween(claimedAt, ended.endedAt),
    node: ended.node ?? null,
  };
}

const NOTHING = { import: 0, load: 0, firstStep: 0, step: 0, save: 0, evaluate: 0, export: 0 };

/** Clocks of two machines may disagree: never less than nothing. */
function secondsBetween(from: string, to: string): number {
  return Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
}

/** Commits of an attempt: those it told of, and those that only `HEAD` knows of, because it died before it could tell. */
export function commitsMade(
  epoch: Epoch,
  named: readonly HeadCommit[],
  told: JobFacts['commits'],
): RecordedCommit[] {
  const own = named.filter(({ id }) => partsOfCommitId(id).epoch === epoch);
  const all = new Map<string, RecordedCommit>();
  for (const { id, step, manifestDigest } of own) all.set(id, { id, step, manifestDigest });
  // What it told first counts: `HEAD` may have been changed since.
  for (const commit of told) all.set(commit.id, { ...all.get(commit.id), ...commit });
  return [...all.values()].sort((a, b) => a.step - b.step);
}
