/** What the ledger says of the objects below a run's prefix: the digest of each, and until when that holds. */
import type { CheckedChain } from '../domain/ledger/chain.js';
import { recordName } from '../domain/ledger/chain.js';
import type { EntryOf, LedgerRecord, ObjectTree } from '../domain/ledger/records.js';
import { commitIdSchema, epochSchema } from '../contracts/index.js';
import { isBelow, partsOfCommitId, pathBelow, stageLayout } from '../contracts/layout.js';
import { recordsOf } from './gathered.js';
import type { GatheredRun, GatheredStage, RecordOf } from './gathered.js';

/** Something that a record names, and the record. */
export interface Anchored<T> {
  readonly value: T;
  /** "record 000007.json of the run’s ledger". */
  readonly by: string;
}

/** What the ledger says of a run's objects. Keys are paths below the run's prefix. */
export interface Anchors {
  /** Digest of an object; null: there was none. */
  readonly objects: ReadonlyMap<string, Anchored<string | null>>;
  /** Many objects by one digest, by the path of their prefix. */
  readonly trees: ReadonlyMap<string, Anchored<ObjectTree>>;
}

const byRun = (index: number): string => `record ${recordName(index)} of the run’s ledger`;
const byStage = (index: number): string => `record ${recordName(index)} of the stage’s ledger`;

/** The newest of what the records say. */
export function anchorsOf(run: GatheredRun): Anchors {
  const objects = new Map<string, Anchored<string | null>>();
  const trees = new Map<string, Anchored<ObjectTree>>();
  const opened = recordsOf(run.chain, 'run-opened').findLast(({ entry }) => entry.objects !== undefined);
  if (opened !== undefined) takeObjects(objects, opened, opened.entry.objects);
  for (const stage of run.stages) {
    takeAttempts(run, stage, objects, trees);
    const rest = restOf(run, stage);
    if (rest !== null) takeObjects(objects, rest, rest.entry.objects);
  }
  for (const record of reportsOf(run)) takeObjects(objects, record, record.entry.objects);
  return { objects, trees };
}

function takeObjects(
  into: Map<string, Anchored<string | null>>,
  { index }: LedgerRecord,
  objects: Readonly<Record<string, string>> = {},
): void {
  for (const [path, value] of Object.entries(objects)) into.set(path, { value, by: byRun(index) });
}

/** The step that makes the report leaves nothing below its own prefix. */
function reportsOf({ chain }: GatheredRun): RecordOf<'stage-ended'>[] {
  return recordsOf(chain, 'stage-ended').filter(({ entry }) =>
    entry.artifacts.some(({ kind }) => kind === 'report'),
  );
}

function takeAttempts(
  run: GatheredRun,
  stage: GatheredStage,
  objects: Map<string, Anchored<string | null>>,
  trees: Map<string, Anchored<ObjectTree>>,
): void {
  const path = (url: string): string => pathBelow(run.runUrl, url);
  const urls = stageLayout(stage.url);
  for (const { index, entry } of recordsOf(stage.chain, 'attempt-opened')) {
    const value = entry.attemptDigest;
    const url = urls.attemptFile(epochSchema.parse(entry.epoch));
    if (value !== undefined) objects.set(path(url), { value, by: byStage(index) });
  }
  for (const { index, entry } of recordsOf(stage.chain, 'attempt-ended')) {
    if (entry.left === undefined) continue;
    const by = byStage(index);
    const epoch = epochSchema.parse(entry.epoch);
    objects.set(path(urls.outcome(epoch)), { value: entry.left.outcome, by });
    objects.set(path(urls.log(epoch)), { value: entry.left.log, by });
    trees.set(path(urls.events(epoch)), { value: entry.left.events, by });
    if (entry.left.records !== undefined && restOf(run, stage) !== null)
      trees.set(path(urls.recordsRoot), { value: entry.left.records, by });
  }
}

/**
 * The newest end of a stage, if nobody has worked on the stage since: its objects are as they were then. null: it is under way,
 * or an attempt was under way when it was sealed, or the record has no digests.
 */
export function restOf({ chain }: GatheredRun, stage: GatheredStage): RecordOf<'stage-ended'> | null {
  const { folder, chain: own } = stage;
  const ended = recordsOf(chain, 'stage-ended').findLast(({ entry }) => entry.folder === folder);
  const started = recordsOf(chain, 'stage-started').findLast(({ entry }) => entry.folder === folder);
  if (ended === undefined || ended.index < (started?.index ?? 0)) return null;
  const { objects, result } = ended.entry;
  const isFinished = result === 'done' || result === 'adopted';
  if (objects === undefined || (!isFinished && isClaimed(stage))) return null;
  const sealed = ended.entry.chain?.records ?? 0;
  return own.tip.records > sealed || openAttempts(own).size > 0 ? null : ended;
}

/** Whether somebody is about to go on: the claim of an attempt comes before the record of it. */
function isClaimed({ chain, attempts }: GatheredStage): boolean {
  const opened = new Set(recordsOf(chain, 'attempt-opened').map(({ entry }) => entry.epoch));
  return attempts.some(({ epoch }) => !opened.has(epoch));
}

/** Epochs of the attempts without an end. */
export function openAttempts(chain: CheckedChain): Set<number> {
  const open = new Set(recordsOf(chain, 'attempt-opened').map(({ entry }) => entry.epoch));
  for (const { entry } of recordsOf(chain, 'attempt-ended')) open.delete(entry.epoch);
  return open;
}

/** The digests of a stage's manifests that the ledger has, by commit: the first that was recorded. */
export function recordedManifests(run: GatheredRun, stage: GatheredStage): Map<string, Anchored<string>> {
  const found = new Map<string, Anchored<string>>();
  const take = (id: string, value: string | undefined, by: string): void => {
    if (value !== undefined && !found.has(id)) found.set(id, { value, by });
  };
  for (const { index, entry } of recordsOf(stage.chain, 'attempt-ended')) {
    for (const { id, manifestDigest } of entry.commits) take(id, manifestDigest, byStage(index));
  }
  for (const { index, entry } of recordsOf(stage.chain, 'attempt-opened')) {
    if (entry.from !== null) take(entry.from, entry.fromDigest, byStage(index));
  }
  for (const { index, entry } of recordsOf(run.chain, 'stage-ended')) {
    for (const { kind, url, digest } of entry.artifacts) {
      const id = isBelow(stageLayout(stage.url).checkpoints, url) ? url.split('/').at(-1) : undefined;
      if (kind === 'checkpoint' && id !== undefined) take(id, digest, byRun(index));
    }
  }
  return found;
}

/** The ends of attempts that tell what was left, by epoch. */
export function toldEnds({ chain }: GatheredStage): Map<number, EntryOf<'attempt-ended'>> {
  const told = recordsOf(chain, 'attempt-ended').filter(({ entry }) => entry.left !== undefined);
  return new Map(told.map(({ entry }) => [entry.epoch, entry]));
}

/** Whether the attempt in a commit's name has an end that would name it. */
export function isToldOf(stage: GatheredStage, id: string): boolean {
  const commit = commitIdSchema.safeParse(id);
  return commit.success && toldEnds(stage).has(partsOfCommitId(commit.data).epoch);
}
