/** An audit of one run: reads its ledger, verifies whatever can be verified, and says what it came to. */
import { checkChain } from '../domain/ledger/chain.js';
import { runIdOf } from '../domain/ledger/records.js';
import type { LedgerRecord } from '../domain/ledger/records.js';
import { runIn, runLayout } from '../contracts/layout.js';
import { readChain } from '../store/ledger.js';
import type { ObjectStore } from '../store/object-store.js';
import { accountFor } from './accounting.js';
import { checkArtifacts } from './artifacts.js';
import type { AuditLevel } from './artifacts.js';
import { checkAttempts } from './attempts.js';
import type { Audit, Check, TimelineEntry } from './audit-data.js';
import { checkChains, checkRecipe, checkSeals } from './chains.js';
import { openings, recordsOf } from './gathered.js';
import type { GatheredRun } from './gathered.js';
import { checkHistory, runIdsInLedger } from './history.js';
import type { HistoryFacts } from './history.js';
import { checkInputs } from './inputs.js';
import { numericsOf } from './numerics.js';
import { checkObjects } from './objects.js';
import { readRun } from './read-run.js';
import { checkSignature } from './signature.js';
import type { SignedTip } from './signature.js';

/** Which run. */
export interface RunIdentity {
  /** Workflow id of the run: the last part of its prefix, whatever its objects say. */
  readonly run: string;
  /** Workflow runs that the ledger names. */
  readonly runIds: readonly string[];
}

/** What to audit, and how. */
export interface AuditInput {
  readonly store: ObjectStore;
  /** `s3://bucket/prefix/runs/<run>` */
  readonly runUrl: string;
  readonly level: AuditLevel;
  /** Reads what the Temporal server knows, or says why there is nothing. Called before the ledger is read. */
  readonly history: (identity: RunIdentity) => Promise<HistoryFacts | { readonly unavailable: string }>;
  /** What was signed of the run, by a key that is trusted; absent: nothing is compared with a signature. */
  readonly signed?: SignedTip | undefined;
  /** Told of each object before its bytes are read. */
  readonly onObject?: ((url: string) => void) | undefined;
}

/** There is nothing at the prefix of the run. */
export class NoSuchRunError extends Error {
  override readonly name = 'NoSuchRunError';
}

/** Audits a run. @throws NoSuchRunError; StoreError for the store's own trouble, which says nothing about the run. */
export async function auditRun(input: AuditInput): Promise<Audit> {
  const { store, runUrl, level, signed, onObject = () => undefined } = input;
  const facts = await input.history(await identify(store, runUrl));
  const run = await readRun(store, runUrl);
  const checks = [
    checkChains(run),
    checkSeals(run),
    checkHistory(run, facts),
    ...(signed === undefined ? [] : [checkSignature(run, signed)]),
    checkRecipe(run),
    checkAttempts(run),
    checkInputs(run),
    ...(await checkArtifacts(store, run, level, onObject)),
    checkObjects(run),
  ];
  return { ...describe(run), level, verdict: verdictOf(checks), checks };
}

async function identify(store: ObjectStore, runUrl: string): Promise<RunIdentity> {
  const layout = runLayout(runUrl);
  const chain = checkChain(await readChain(store, layout.ledger));
  const found =
    chain.links.length > 0 || (await store.exists(layout.owner)) || (await store.exists(layout.recipe));
  if (!found) throw new NoSuchRunError(`There is no run at ${runUrl}.`);
  return { run: runIn(runUrl), runIds: runIdsInLedger(chain) };
}

function verdictOf(checks: readonly Check[]): Audit['verdict'] {
  const isSigned = checks.some(({ name, state }) => name === 'signature' && state === 'verified');
  // What Temporal would vouch for, the chain's tip, a signature vouches for as well.
  const counted = checks.filter(
    ({ name, state }) => !(isSigned && name === 'Temporal' && state === 'not-checked'),
  );
  const states = new Set(counted.map(({ state }) => state));
  if (states.has('different')) return 'different';
  return states.has('not-checked') ? 'not-checked' : 'verified';
}

function describe(run: GatheredRun): Omit<Audit, 'level' | 'verdict' | 'checks'> {
  const opened = recordsOf(run.chain, 'run-opened');
  const begun = openings(run.chain).at(-1);
  const ended = recordsOf(run.chain, 'run-ended').at(-1);
  const isOver = ended !== undefined && ended.index > (begun?.index ?? 0);
  return {
    schema: 'longhaul.audit/1',
    run: run.run,
    runUrl: run.runUrl,
    auditedAt: new Date().toISOString(),
    state: isOver ? ended.entry.state : 'running',
    recipeDigest: run.recipe?.digest ?? null,
    ledger: run.chain.tip,
    openedAt: opened[0]?.at ?? null,
    endedAt: isOver ? ended.at : null,
    timeline: timelineOf(run),
    accounting: accountFor(run),
    numerics: numericsOf(run),
  };
}

/** All records in the order of their instants; within a chain in the order of the chain, whatever the clocks say. */
function timelineOf(run: GatheredRun): TimelineEntry[] {
  const chains = [
    { folder: null, links: run.chain.links },
    ...run.stages.map(({ folder, chain }) => ({ folder, links: chain.links })),
  ];
  const entries = chains.flatMap(({ folder, links }) => {
    let latest = '';
    return links.flatMap(({ record }) => {
      if (record === null) return [];
      latest = record.at > latest ? record.at : latest;
      return [{ order: latest, entry: toTimeline(folder, record) }];
    });
  });
  return entries.toSorted((a, b) => compare(a.order, b.order)).map(({ entry }) => entry);
}

function toTimeline(folder: string | null, { at, index, id, entry }: LedgerRecord): TimelineEntry {
  return { at, folder, index, writer: runIdOf(id), entry };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
