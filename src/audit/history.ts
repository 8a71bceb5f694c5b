/** A run's ledger against the Temporal history, as long as that is kept. */
import { tipProblem } from '../domain/ledger/chain.js';
import type { CheckedChain } from '../domain/ledger/chain.js';
import { ledgerRecordUrl, objectUrl, runLayout, stageLayout } from '../contracts/layout.js';
import { runIdOf } from '../domain/ledger/records.js';
import type { LedgerRecord } from '../domain/ledger/records.js';
import type { LedgerTip } from '../domain/run/status.js';
import { checkOf, notChecked } from './audit-data.js';
import type { Check, Difference } from './audit-data.js';
import { count } from './chains.js';
import { recordsOf } from './gathered.js';
import type { GatheredRun } from './gathered.js';

/** The answer to an append, as a history has it. */
export interface HistoryAppend {
  /** Stage folder; null: the run's own chain. */
  readonly folder: string | null;
  readonly tip: LedgerTip;
  /** `temporal:<workflow id>/<run id>`. */
  readonly where: string;
}

/** An operator's update that the workflow accepted. */
export interface HistoryUpdate {
  readonly id: string;
  readonly name: string;
  readonly actor: string;
  readonly reason: string;
  /** Whether it has its answer, and with it its record. */
  readonly completed: boolean;
  readonly where: string;
}

/** An attempt that a stage's workflow asked for. */
export interface HistoryAttempt {
  readonly folder: string;
  /** Its owner token: the beginning of its records' ids. */
  readonly owner: string;
}

/** A stage's child workflow that was started. */
export interface HistoryChild {
  readonly folder: string;
  readonly where: string;
}

/** Temporal's own pause of a workflow, or the end of one: no code of the run is asked, so the ledger has neither. */
export interface HistoryPause {
  readonly begins: boolean;
  /** Who asked, as the Temporal UI or a command line names him; empty: nobody said. */
  readonly by: string;
  readonly reason: string;
  /** UTC. */
  readonly at: string;
  readonly where: string;
}

/** What the Temporal server still knows of a run. */
export interface HistoryFacts {
  /** Namespace that was asked. */
  readonly namespace: string;
  /** Runs of the `recipe` workflow whose history was read. */
  readonly runIds: readonly string[];
  /** Runs that the ledger names and the server does not know: their history has expired, or there never were any. */
  readonly unknown: readonly string[];
  /** The newest run, and its status as Temporal names it; null: the server knows none. */
  readonly newest: { readonly runId: string; readonly status: string } | null;
  readonly attempts: readonly HistoryAttempt[];
  readonly appends: readonly HistoryAppend[];
  readonly updates: readonly HistoryUpdate[];
  readonly children: readonly HistoryChild[];
  readonly pauses: readonly HistoryPause[];
  /** Tip of the run's chain as the workflow's status tells it; null: no worker answers. */
  readonly statusTip: LedgerTip | null;
}

/** Workflow runs that wrote into the run's chain, by the owner tokens of its records. */
export function runIdsInLedger(chain: CheckedChain): string[] {
  const opened = recordsOf(chain, 'run-opened').map(({ entry }) => entry.runId);
  const writers = chain.links.map(({ record }) => (record === null ? null : runIdOf(record.id)));
  return [...new Set([...opened, ...writers.filter((runId) => runId !== null)])];
}

/** Compares; `facts` without any with the reason why there are none. */
export function checkHistory(
  run: GatheredRun,
  facts: HistoryFacts | { readonly unavailable: string },
): Check {
  if ('unavailable' in facts) return notChecked('Temporal', facts.unavailable);
  if (facts.runIds.length === 0) return notChecked('Temporal', nothingKnown(run, facts));
  const expired = expiredIn(run, facts);
  const complete = expired.length === 0;
  const differences = [
    ...namespaceDifferences(run, facts),
    ...appendDifferences(run, facts),
    ...statusDifferences(run, facts),
    ...strangeRecords(run, facts),
    ...strangeAttempts(run, facts, complete),
    ...updateDifferences(run, facts, complete),
    ...childDifferences(run, facts, complete),
  ];
  const notes = [
    ...expired.map((runId) => `the history of run ${runId} has expired`),
    ...(facts.statusTip === null ? [whyNoStatus(facts)] : []),
    ...facts.pauses.map(pauseText),
  ];
  return checkOf('Temporal', summary(facts), differences, notes);
}

function whyNoStatus({ newest }: HistoryFacts): string {
  const why =
    newest?.status === 'PAUSED' ? 'a workflow that Temporal has paused answers no' : 'no worker answered the';
  return `${why} status query: the tip is that of the history`;
}

function pauseText({ begins, by, reason, at, where }: HistoryPause): string {
  const who = by === '' ? 'somebody' : by;
  return `${at}: ${who} ${begins ? 'paused' : 'unpaused'} ${where} by Temporal’s own means${reason === '' ? '' : ` (${reason})`}`;
}

function nothingKnown({ run, chain }: GatheredRun, { namespace }: HistoryFacts): string {
  const said = recordsOf(chain, 'run-opened').at(-1)?.entry.namespace ?? namespace;
  const elsewhere = said === namespace ? '' : `; by its ledger it ran in ${said}`;
  return `the namespace ${namespace} has no history of ${run} (any more): audited from the object store alone${elsewhere}`;
}

/** The ledger speaks of the namespace in which the workflow is. */
function namespaceDifferences({ runUrl, chain }: GatheredRun, { namespace }: HistoryFacts): Difference[] {
  return recordsOf(chain, 'run-opened')
    .filter(({ entry }) => entry.namespace !== namespace)
    .map(({ index, entry }) => ({
      object: ledgerRecordUrl(runLayout(runUrl).ledger, index),
      message: `says that the run is of the namespace ${entry.namespace}; its workflow is in ${namespace}`,
    }));
}

/** How far a chain goes as far as its workflow was told: everything up to there is under a digest that Temporal keeps. */
function knownRecords({ appends, statusTip }: HistoryFacts, folder: string | null): number {
  const told = appends.filter((append) => append.folder === folder).map(({ tip }) => tip.records);
  return Math.max(0, ...told, folder === null ? (statusTip?.records ?? 0) : 0);
}

/** Runs whose history has expired: the server does not know them, but what they wrote is before what it was told. */
function expiredIn(run: GatheredRun, facts: HistoryFacts): string[] {
  const known = knownRecords(facts, null);
  const before = run.chain.links.filter(({ index }) => index <= known);
  const writers = new Set(before.map(({ record }) => (record === null ? null : runIdOf(record.id))));
  return facts.unknown.filter((runId) => writers.has(runId));
}

/** What the janitor writes for a run that was cut: the ends of the stages that were under way, and the run's. */
const CUT: ReadonlySet<string> = new Set(['TERMINATED', 'TIMED_OUT']);
const OPEN: ReadonlySet<string> = new Set(['RUNNING', 'PAUSED', 'CONTINUED_AS_NEW']);

/** Behind what the workflow was told stands only what it is about to be told, and what the janitor has found. */
function strangeRecords(run: GatheredRun, facts: HistoryFacts): Difference[] {
  const { newest } = facts;
  const known = knownRecords(facts, null);
  return run.chain.links
    .filter(({ index, record }) => index > known && record !== null && !isExpected(run, newest, record))
    .map(({ index, record }) => ({
      object: ledgerRecordUrl(runLayout(run.runUrl).ledger, index),
      message: `stands behind record ${known}, the last that the workflow wrote, and is by ${runIdOf(record?.id ?? '') ?? 'nobody'}`,
    }));
}

function isExpected(run: GatheredRun, newest: HistoryFacts['newest'], record: LedgerRecord): boolean {
  if (newest?.runId !== runIdOf(record.id)) return false;
  if (OPEN.has(newest.status)) return true;
  return CUT.has(newest.status) && isOfJanitor(run, record);
}

/** The end of a run, or of a stage that nothing had ended before. */
function isOfJanitor({ chain }: GatheredRun, { id, index, entry }: LedgerRecord): boolean {
  if (entry.type === 'run-ended') return id.endsWith('#cut');
  if (entry.type !== 'stage-ended' || entry.artifacts.length > 0) return false;
  const { folder } = entry;
  const before = [...recordsOf(chain, 'stage-started'), ...recordsOf(chain, 'stage-ended')]
    .filter((one) => one.entry.folder === folder && one.index < index)
    .toSorted((a, b) => b.index - a.index)[0]?.entry;
  const wasOpen =
    before?.type === 'stage-started' || before?.result === 'parked' || before?.result === 'paused';
  return wasOpen && id.endsWith(`#cut-${folder}`);
}

/** Nobody writes into a stage's chain but the attempts that its workflow asked for. */
function strangeAttempts(run: GatheredRun, facts: HistoryFacts, complete: boolean): Difference[] {
  return run.stages.flatMap(({ folder, url, chain }) => {
    const own = facts.attempts.filter((one) => one.folder === folder);
    if (own.length === 0 && !complete) return [];
    const owners = new Set(own.map(({ owner }) => owner));
    const known = knownRecords(facts, folder);
    return chain.links
      .filter(({ index, record }) => index > known && record !== null && !owners.has(ownerOf(record.id)))
      .map(({ index, record }) => ({
        object: ledgerRecordUrl(stageLayout(url).ledger, index),
        message: `stands behind record ${known}, the last that the stage’s workflow was told of, and is by ${ownerOf(record?.id ?? '')}, which it never asked for`,
      }));
  });
}

function ownerOf(recordId: string): string {
  return recordId.split('#')[0] ?? '';
}

function summary({ runIds, appends, updates, children, statusTip }: HistoryFacts): string {
  const parts = [
    count(appends.length, 'append'),
    count(updates.length, 'update'),
    count(new Set(children.map(({ folder }) => folder)).size, 'stage'),
  ];
  const runs = runIds.length === 1 ? 'the history of 1 run' : `the histories of ${runIds.length} runs`;
  return `${runs}: ${parts.join(', ')}${statusTip === null ? '' : ', and the tip that the workflow keeps'}`;
}

function chainOf(run: GatheredRun, folder: string | null) {
  if (folder === null) return { url: runLayout(run.runUrl).ledger, chain: run.chain };
  const stage = run.stages.find((one) => one.folder === folder);
  return stage === undefined ? null : { url: stageLayout(stage.url).ledger, chain: stage.chain };
}

/** Every record whose digest a workflow was told is still there with that digest. */
function appendDifferences(run: GatheredRun, { appends }: HistoryFacts): Difference[] {
  return appends.flatMap(({ folder, tip, where }) => tipDifference(run, folder, tip, where));
}

function statusDifferences(run: GatheredRun, { statusTip }: HistoryFacts): Difference[] {
  return statusTip === null ? [] : tipDifference(run, null, statusTip, 'the workflow’s status');
}

function tipDifference(run: GatheredRun, folder: string | null, tip: LedgerTip, where: string): Difference[] {
  const found = chainOf(run, folder);
  if (found === null)
    return [{ object: where, message: `has records of ${String(folder)}, and the store has no such stage` }];
  const problem = tipProblem(found.chain, tip);
  if (problem === null) return [];
  return [{ object: objectUrl(found.url, problem.object), message: `${problem.message} (by ${where})` }];
}

/** Updates that were answered have their record; records of updates have their update, unless its history has expired. */
function updateDifferences(run: GatheredRun, { updates }: HistoryFacts, complete: boolean): Difference[] {
  const actions = recordsOf(run.chain, 'action');
  const key = (name: string, actor: string, reason: string): string =>
    JSON.stringify([name, actor.trim(), reason.trim()]);
  const recorded = tally(actions.map(({ entry }) => key(entry.action, entry.actor, entry.reason)));
  const accepted = new Set(updates.map(({ name, actor, reason }) => key(name, actor, reason)));
  const distinct = new Map(updates.filter(({ completed }) => completed).map((update) => [update.id, update]));
  const answered = tally([...distinct.values()].map(({ name, actor, reason }) => key(name, actor, reason)));
  const missing = [...distinct.values()]
    .filter(({ name, actor, reason }) => {
      const one = key(name, actor, reason);
      return (recorded.get(one) ?? 0) < (answered.get(one) ?? 0);
    })
    .map(({ id, name, actor, reason, where }) => ({
      object: where,
      message: `accepted the update ${name} of ${actor} (${reason}), id ${id}; the ledger has no record of it`,
    }));
  if (!complete) return missing;
  const invented = actions
    .filter(({ entry }) => !accepted.has(key(entry.action, entry.actor, entry.reason)))
    .map(({ index, entry }) => ({
      object: ledgerRecordUrl(runLayout(run.runUrl).ledger, index),
      message: `records ${entry.action} by ${entry.actor}; no history has such an update`,
    }));
  return [...missing, ...invented];
}

function tally(keys: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

/** Kinds of stages that are child workflows. */
const CHILD_KINDS: ReadonlySet<string> = new Set(['curation', 'training', 'sft', 'evaluation']);

/** Every stage that a workflow started is in the ledger, and the other way round. */
function childDifferences(run: GatheredRun, { children }: HistoryFacts, complete: boolean): Difference[] {
  const started = recordsOf(run.chain, 'stage-started').filter(({ entry }) => CHILD_KINDS.has(entry.kind));
  const inLedger = new Set(started.map(({ entry }) => entry.folder));
  const inHistory = new Set(children.map(({ folder }) => folder));
  const unrecorded = children
    .filter(({ folder }) => !inLedger.has(folder))
    .map(({ folder, where }) => ({
      object: where,
      message: `started the stage ${folder}; the ledger has no record of it`,
    }));
  if (!complete) return unrecorded;
  // The record comes first: of the newest one the child may be about to start.
  const invented = started
    .filter(({ entry, index }) => !inHistory.has(entry.folder) && index < run.chain.tip.records)
    .map(({ entry, index }) => ({
      object: ledgerRecordUrl(runLayout(run.runUrl).ledger, index),
      message: `records the start of ${entry.folder}; no history has started it`,
    }));
  return [...unrecorded, ...invented];
}
