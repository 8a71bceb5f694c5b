/** A run's ledger against the Temporal history, as long as that is kept. */
import { recordName, tipProblem } from '../domain/ledger-chain.js';
import type { CheckedChain } from '../domain/ledger-chain.js';
import { runLayout, stageLayout } from '../store/layout.js';
import { runIdOf } from '../domain/ledger.js';
import type { LedgerTip } from '../domain/status.js';
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

/** A stage's child workflow that was started. */
export interface HistoryChild {
  readonly folder: string;
  readonly where: string;
}

/** What the Temporal server still knows of a run. */
export interface HistoryFacts {
  /** Runs of the `recipe` workflow whose history was read. */
  readonly runIds: readonly string[];
  /** Runs that are gone: their history has expired. */
  readonly expired: readonly string[];
  readonly appends: readonly HistoryAppend[];
  readonly updates: readonly HistoryUpdate[];
  readonly children: readonly HistoryChild[];
  /** Tip of the run's chain as the workflow's status tells it; null: no worker answers. */
  readonly statusTip: LedgerTip | null;
}

/** Workflow runs that wrote into the run's chain, by the owner tokens of its records. */
export function runIdsInLedger(chain: CheckedChain): string[] {
  const opened = recordsOf(chain, 'run-opened').map(({ entry }) => entry.runId);
  const writers = chain.links.map(({ record }) => (record === null ? null : runIdOf(record.id)));
  return [...new Set([...opened, ...writers.filter((runId) => runId !== null)])];
}

/** Compares; `facts` null with the reason why there are none. */
export function checkHistory(
  run: GatheredRun,
  facts: HistoryFacts | { readonly unavailable: string },
): Check {
  if ('unavailable' in facts) return notChecked('Temporal', facts.unavailable);
  if (facts.runIds.length === 0) {
    return notChecked('Temporal', 'the history has expired: audited from the object store alone');
  }
  const complete = facts.expired.length === 0;
  const differences = [
    ...appendDifferences(run, facts),
    ...statusDifferences(run, facts),
    ...updateDifferences(run, facts, complete),
    ...childDifferences(run, facts, complete),
    ...writerDifferences(run, facts, complete),
  ];
  const notes = [
    ...facts.expired.map((runId) => `the history of run ${runId} has expired`),
    ...(facts.statusTip === null
      ? ['no worker answered the status query: the tip is that of the history']
      : []),
  ];
  return checkOf('Temporal', summary(facts), differences, notes);
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
  return [{ object: `${found.url}/${problem.object}`, message: `${problem.message} (by ${where})` }];
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
      object: `${runLayout(run.runUrl).ledger}/${recordName(index)}`,
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
      object: `${runLayout(run.runUrl).ledger}/${recordName(index)}`,
      message: `records the start of ${entry.folder}; no history has started it`,
    }));
  return [...unrecorded, ...invented];
}

/** Nobody writes into a run's chain but its workflow. */
function writerDifferences(run: GatheredRun, { runIds }: HistoryFacts, complete: boolean): Difference[] {
  if (!complete) return [];
  return runIdsInLedger(run.chain)
    .filter((runId) => !runIds.includes(runId))
    .map((runId) => ({
      object: runLayout(run.runUrl).ledger,
      message: `has records of the workflow run ${runId}, which the server does not know`,
    }));
}
