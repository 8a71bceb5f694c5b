/** `HEAD` and spec of a stage against the commits and the spec that the stage's ledger records: what contradicts them is not gone on from. */
import { commitIdSchema } from '../contracts/index.js';
import type { Digest, HeadCommit } from '../contracts/index.js';
import { decodeRecord, recordDigest, recordName } from '../domain/ledger/chain.js';
import type { EntryOf, LedgerRecord } from '../domain/ledger/records.js';
import type { LedgerTip } from '../domain/run/status.js';
import { ledgerRecordUrl, partsOfCommitId } from '../contracts/layout.js';
import { readTip } from './ledger.js';
import type { ObjectStore } from './object-store.js';
import { mapConcurrently } from './transfer.js';

/** Records that are read at once on the way back. */
const BLOCK = 32;

/** What is asked of a stage's ledger. */
export interface CommitQuestion {
  /** Chain of the stage. */
  readonly chainUrl: string;
  /** Newest record that the stage's workflow knows of; the chain must still hold it. No records: not known. */
  readonly known: LedgerTip;
  /** Commits that an attempt is to go on from. */
  readonly commits: readonly HeadCommit[];
  /** Spec that the attempt is to work by: how often a retry had changed it, and its object's digest. */
  readonly spec?: { readonly revision: number; readonly digest: Digest };
}

/**
 * How these commits, or the spec, contradict what the ledger records, in one sentence; null: they don't. Commits of an attempt whose end is
 * not recorded, or was recorded by an earlier version, are unknown, and no contradiction.
 */
export async function contradictionOf(store: ObjectStore, question: CommitQuestion): Promise<string | null> {
  const { chainUrl, commits } = question;
  if (commits.length === 0) return null;
  const tip = await readTip(store, chainUrl);
  if (tip === null) return null;
  const search = new Search(question);
  for (let last = tip.records; last > 0 && !search.isOver; last -= BLOCK) {
    const numbers = Array.from({ length: Math.min(BLOCK, last) }, (_, back) => last - back);
    const records = await mapConcurrently(numbers, BLOCK, async (number) => {
      const found = await store.find(ledgerRecordUrl(chainUrl, number));
      return { number, bytes: found?.data ?? null };
    });
    for (const { number, bytes } of records) search.take(number, bytes);
  }
  return search.contradiction;
}

/** Goes back along a chain until every commit is accounted for. */
class Search {
  /** The first contradiction that was found. */
  contradiction: string | null = null;
  readonly #open: Map<string, HeadCommit>;
  /** Digest that the record before the one taken last must have; null: not known. */
  #expected: string | null = null;
  /** Whether the spec has still to be held against that of the attempt before. */
  #asksSpec: boolean;

  constructor(private readonly question: CommitQuestion) {
    this.#open = new Map(question.commits.map((commit) => [commit.id, commit]));
    this.#asksSpec = question.spec !== undefined;
  }

  get isOver(): boolean {
    return this.contradiction !== null || (this.#open.size === 0 && !this.#asksSpec);
  }

  take(number: number, bytes: Uint8Array | null): void {
    if (this.isOver) return;
    const { known } = this.question;
    const record = bytes === null ? 'is missing' : decodeRecord(bytes);
    const digest = bytes === null ? null : recordDigest(bytes);
    const isKnown = number === known.records ? digest === known.tip : true;
    if (typeof record === 'string' || !isKnown || (this.#expected ?? digest) !== digest) {
      this.contradiction = `record ${recordName(number)} of ${this.question.chainUrl} is not what it was`;
      return;
    }
    this.#expected = record.previous;
    this.#compare(number, record);
  }

  #compare(number: number, { entry }: LedgerRecord): void {
    if (entry.type === 'attempt-ended') {
      for (const { id, manifestDigest } of entry.commits) this.#meet(number, id, manifestDigest);
      if (entry.left !== undefined) this.#close(number, entry.epoch);
    }
    if (entry.type === 'attempt-opened') {
      this.#compareSpec(number, entry.spec);
      if (entry.from !== null) this.#meet(number, entry.from, entry.fromDigest);
      // Nothing before its opening tells of an attempt.
      for (const id of this.#open.keys()) if (epochOf(id) === entry.epoch) this.#open.delete(id);
    }
  }

  /** Revisions only grow: once the attempt before had an earlier one, nothing is known of this one. */
  #compareSpec(number: number, recorded: EntryOf<'attempt-opened'>['spec']): void {
    const { spec } = this.question;
    if (!this.#asksSpec || recorded === undefined || spec === undefined) return;
    this.#asksSpec = false;
    if (recorded.revision !== spec.revision || recorded.digest === spec.digest) return;
    this.contradiction = `its spec has the digest ${spec.digest}, but ${recordName(number)} of the stage's ledger records ${recorded.digest}`;
  }

  #meet(number: number, id: string, manifestDigest: string | undefined): void {
    const commit = this.#open.get(id);
    if (commit === undefined || manifestDigest === undefined) return;
    this.#open.delete(id);
    if (commit.manifestDigest === manifestDigest) return;
    this.contradiction = `HEAD names the commit ${id} with the manifest ${commit.manifestDigest}, but ${recordName(number)} of the stage's ledger records ${manifestDigest}`;
  }

  /** Whatever an ended attempt has committed is in the record of its end. */
  #close(number: number, epoch: number): void {
    const stranger = [...this.#open.keys()].find((id) => epochOf(id) === epoch);
    if (stranger === undefined || this.contradiction !== null) return;
    this.contradiction = `HEAD names the commit ${stranger}, which attempt ${epoch} has not made by ${recordName(number)} of the stage's ledger`;
  }
}

function epochOf(id: string): number {
  return partsOfCommitId(commitIdSchema.parse(id)).epoch;
}
