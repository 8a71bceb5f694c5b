/** What an audit has read of a run, before it judges it. */
import type { Digest, Head, HeadCommit, JobSpec, Outcome, RunOwner } from '../contracts/index.js';
import type { CheckedChain } from '../domain/ledger/chain.js';
import type { EntryOf, LedgerEntry, LedgerRecord } from '../domain/ledger/records.js';
import type { Recipe } from '../domain/recipe/schema.js';
import type { Difference } from './audit-data.js';

/** One attempt as its objects tell it. */
export interface GatheredAttempt {
  readonly epoch: number;
  readonly outcome: Outcome | null;
  /** Whether its job wrote anything: events, a log, an outcome. */
  readonly ran: boolean;
}

/** A commit that a stage's `HEAD` names. */
export interface GatheredCommit {
  readonly commit: HeadCommit;
  readonly quarantined: boolean;
  /** Numerics fingerprint in its manifest; null: the manifest can't be read. */
  readonly fingerprint: Outcome['fingerprint'] | null;
}

/** A spec of a stage's jobs, as it is stored. */
export interface GatheredSpec {
  /** How often a retry had changed the stage's settings. */
  readonly revision: number;
  /** Of the object's bytes. */
  readonly digest: Digest;
  /** null: it is not what it should be. */
  readonly spec: JobSpec | null;
}

/** One stage: its ledger and its objects. */
export interface GatheredStage {
  readonly folder: string;
  readonly url: string;
  readonly chain: CheckedChain;
  /** Specs of its jobs, one per revision; none for a stage that runs no job. */
  readonly specs: readonly GatheredSpec[];
  /** null: it has none. */
  readonly head: Head | null;
  readonly line: readonly GatheredCommit[];
  readonly attempts: readonly GatheredAttempt[];
  /** Marks of checkpoints found corrupt. */
  readonly quarantines: readonly { readonly id: string; readonly epoch: number; readonly url: string }[];
}

/** The frozen recipe. */
export interface GatheredRecipe {
  /** null: it is no recipe that this version reads. */
  readonly recipe: Recipe | null;
  /** SHA-256 of the stored recipe's canonical JSON. */
  readonly digest: string;
  /** Whether it is stored as recipes are written: keys that are there twice have no trace in the digest. */
  readonly isCanonical: boolean;
}

/** Everything read of a run. */
export interface GatheredRun {
  readonly run: string;
  readonly runUrl: string;
  readonly owner: RunOwner | null;
  readonly recipe: GatheredRecipe | null;
  readonly chain: CheckedChain;
  /** By folder, in order. */
  readonly stages: readonly GatheredStage[];
  /** Digest of every object below the run's prefix, by its path below it; null: it is bulk data, or a record. */
  readonly objects: ReadonlyMap<string, string | null>;
  /** Objects that are there and can't be read. */
  readonly unreadable: readonly Difference[];
}

/** A record whose entry has one type. */
export type RecordOf<T extends LedgerEntry['type']> = LedgerRecord & { readonly entry: EntryOf<T> };

/** The records of one type, in order. */
export function recordsOf<T extends LedgerEntry['type']>(chain: CheckedChain, type: T): RecordOf<T>[] {
  return chain.links.flatMap(({ record }) => (record !== null && isOf(record, type) ? [record] : []));
}

function isOf<T extends LedgerEntry['type']>(record: LedgerRecord, type: T): record is RecordOf<T> {
  return record.entry.type === type;
}

/** The records with which a workflow run began to work on the run, in order. */
export function openings(chain: CheckedChain): (RecordOf<'run-opened'> | RecordOf<'run-reset'>)[] {
  const records = [...recordsOf(chain, 'run-opened'), ...recordsOf(chain, 'run-reset')];
  return records.toSorted((a, b) => a.index - b.index);
}

/** Folders that the run's ledger says were started, in order, each once. */
export function startedFolders(run: GatheredRun): string[] {
  return [...new Set(recordsOf(run.chain, 'stage-started').map(({ entry }) => entry.folder))];
}
