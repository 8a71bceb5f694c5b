/** Everything below a run's prefix: under a digest that the ledger has, or named as what nothing vouches for. */
import { treeDigest } from '../store/digest.js';
import { SEALED } from '../store/anchors.js';
import { epochSchema } from '../contracts/common.js';
import { isBelow, manifestUrl, objectUrl, pathBelow, runObjectOf, stageLayout } from '../contracts/layout.js';
import type { RunObject } from '../contracts/layout.js';
import { anchorsOf, isToldOf, recordedManifests, restOf, toldEnds } from './anchors.js';
import type { Anchors } from './anchors.js';
import type { Check, Difference } from './audit-data.js';
import { count } from './chains.js';
import { recordsOf } from './gathered.js';
import type { GatheredRun, GatheredStage } from './gathered.js';

/** Compares every object with what the ledger says of it. */
export function checkObjects(run: GatheredRun): Check {
  const anchors = anchorsOf(run);
  const url = (path: string): string => objectUrl(run.runUrl, path);
  const differences = [
    ...run.unreadable,
    ...objectDifferences(run, anchors).map(({ object, message }) => ({ object: url(object), message })),
    ...treeDifferences(run, anchors).map(({ object, message }) => ({ object: url(object), message })),
    ...run.stages.flatMap((stage) => checkpointDifferences(run, stage)),
  ];
  const loose = new Loose();
  for (const path of run.objects.keys()) {
    const found = placeOf(run, anchors, path);
    if (found.kind === 'stranger') differences.push({ object: url(path), message: found.why });
    if (found.kind === 'loose') loose.add(path, found.why);
  }
  const paths = [...run.objects.keys()];
  const foreign = paths.filter((path) => runObjectOf(path) === 'foreign-pin').length;
  const drills = paths.filter((path) => runObjectOf(path) === 'drill').length;
  const notes = [
    ...loose.notes,
    ...(foreign === 0 ? [] : [`${count(foreign, 'pin')} of other runs, which may come and go`]),
    ...(drills === 0 ? [] : [`${count(drills, 'object')} of a drill, written when the run was over`]),
  ];
  const vouched = run.objects.size - loose.size - foreign - drills;
  const summary = `${count(run.objects.size, 'object')} below the run’s prefix, ${vouched.toLocaleString('en-US')} under a digest of the ledger`;
  const state = differences.length > 0 ? 'different' : loose.size > 0 ? 'not-checked' : 'verified';
  return { name: 'objects', summary, state, differences, notes };
}

/** Objects under no digest, by folder and reason: there may be thousands. */
class Loose {
  readonly #groups = new Map<string, { readonly folder: string; readonly why: string; objects: number }>();

  get size(): number {
    return [...this.#groups.values()].reduce((sum, { objects }) => sum + objects, 0);
  }

  get notes(): string[] {
    return [...this.#groups.values()].map(
      ({ folder, why, objects }) => `${folder}: ${count(objects, 'object')} under no digest: ${why}`,
    );
  }

  add(path: string, why: string): void {
    const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : path;
    const key = `${folder} ${why}`;
    const group = this.#groups.get(key) ?? { folder, why, objects: 0 };
    group.objects += 1;
    this.#groups.set(key, group);
  }
}

/** What vouches for an object: a digest, nothing (and why), or it does not belong there. */
type Place = { readonly kind: 'vouched' } | { readonly kind: 'loose' | 'stranger'; readonly why: string };

const VOUCHED: Place = { kind: 'vouched' };
const OLD = 'the ledger has none, being of an earlier version';

function placeOf(run: GatheredRun, { objects, trees }: Anchors, path: string): Place {
  const kind = runObjectOf(path);
  if (kind === null) return { kind: 'stranger', why: 'is no object of a run' };
  if (
    objects.has(path) ||
    kind === 'foreign-pin' ||
    kind === 'drill' ||
    kind === 'run-record' ||
    kind === 'stage-record'
  )
    return VOUCHED;
  if ([...parentsOf(path)].some((parent) => trees.has(parent))) return VOUCHED;
  const stage = run.stages.find(({ url }) => isBelow(pathBelow(run.runUrl, url), path));
  return stage === undefined ? { kind: 'loose', why: OLD } : placeInStage(run, stage, kind, path);
}

function* parentsOf(path: string): Generator<string> {
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1))
    yield path.slice(0, end);
}

function placeInStage(run: GatheredRun, stage: GatheredStage, kind: RunObject, path: string): Place {
  const rest = restOf(run, stage);
  if (kind === 'checkpoint-manifest' || kind === 'checkpoint-file')
    return placeOfCheckpoint(run, stage, path);
  if (ATTEMPTS.has(kind)) return { kind: 'loose', why: whyLoose(stage, path) };
  if (kind === 'evaluation-record') return { kind: 'loose', why: 'the evaluation is not finished' };
  if (kind === 'export-file') {
    const hasManifest = run.objects.has(manifestUrl(folderOf(path, 'export')));
    return hasManifest ? VOUCHED : { kind: 'loose', why: 'the export has no manifest' };
  }
  if (rest === null)
    return { kind: 'loose', why: 'the stage is under way, or was sealed by an earlier version' };
  return SEALED.has(kind)
    ? { kind: 'stranger', why: 'was not there when the stage ended' }
    : { kind: 'loose', why: OLD };
}

const ATTEMPTS: ReadonlySet<RunObject> = new Set<RunObject>(['attempt', 'events', 'outcome', 'log']);

/** `stages/<folder>/<prefix>/<name>`, of an object below it. */
function folderOf(path: string, prefix: string): string {
  const [stages, folder, , name] = path.split('/');
  return [stages, folder, prefix, name].join('/');
}

function whyLoose(stage: GatheredStage, path: string): string {
  const epoch = Number(path.split('/')[3]);
  const hasEnded = recordsOf(stage.chain, 'attempt-ended').some(({ entry }) => entry.epoch === epoch);
  return hasEnded ? OLD : 'the end of the attempt is not recorded';
}

function placeOfCheckpoint(run: GatheredRun, stage: GatheredStage, path: string): Place {
  const folder = folderOf(path, 'checkpoints');
  const id = folder.split('/').at(-1) ?? '';
  if (!run.objects.has(manifestUrl(folder))) return { kind: 'loose', why: 'no commit has them' };
  if (recordedManifests(run, stage).has(id)) return VOUCHED;
  const left = [...toldEnds(stage).values()].at(-1)?.left;
  if (restOf(run, stage) !== null && left !== undefined && !left.checkpoints.includes(id))
    return { kind: 'stranger', why: 'is of a checkpoint that was not there when the last attempt ended' };
  return { kind: 'loose', why: 'the ledger knows no such commit' };
}

function objectDifferences({ objects: there }: GatheredRun, { objects }: Anchors): Difference[] {
  return [...objects].flatMap(([object, { value, by }]) => {
    const now = there.get(object) ?? null;
    if (now === value) return [];
    if (value === null) return [{ object, message: `is there; by ${by} there was none` }];
    const found = now === null ? 'is gone' : `has the digest ${now}`;
    return [{ object, message: `${found}; ${by} names ${value}` }];
  });
}

function treeDifferences({ objects: there }: GatheredRun, { trees }: Anchors): Difference[] {
  return [...trees].flatMap(([object, { value, by }]) => {
    const below = [...there]
      .filter(([path]) => isBelow(object, path))
      .map(([path, digest]) => [pathBelow(object, path), digest ?? ''] as const);
    const digest = treeDigest(below);
    if (digest === value.digest && below.length === value.objects) return [];
    const now = `${count(below.length, 'object')} with the digest ${digest}`;
    return [{ object, message: `holds ${now}; ${by} names ${value.objects} with ${value.digest}` }];
  });
}

/** Manifests, `HEAD`, starting points, marks and deletions against the commits that the ledger records. */
function checkpointDifferences(run: GatheredRun, stage: GatheredStage): Difference[] {
  return [
    ...manifestDifferences(run, stage),
    ...headDifferences(run, stage),
    ...startDifferences(run, stage),
    ...markDifferences(stage),
    ...deletions(run, stage),
  ];
}

function manifestDifferences(run: GatheredRun, stage: GatheredStage): Difference[] {
  const urls = stageLayout(stage.url);
  return [...recordedManifests(run, stage)].flatMap(([id, { value, by }]) => {
    const object = manifestUrl(objectUrl(urls.checkpoints, id));
    const now = run.objects.get(pathBelow(run.runUrl, object)) ?? null;
    // Gone by retention, or not: that is for the comparison with what the last attempt left.
    if (now === null || now === value) return [];
    return [{ object, message: `has the digest ${now}; ${by} names ${value}` }];
  });
}

function headDifferences(run: GatheredRun, stage: GatheredStage): Difference[] {
  const recorded = recordedManifests(run, stage);
  const object = stageLayout(stage.url).head;
  return stage.line.flatMap(({ commit: { id, manifestDigest } }) => {
    const known = recorded.get(id);
    if (known?.value === manifestDigest) return [];
    if (known !== undefined)
      return [
        {
          object,
          message: `names the commit ${id} with the manifest ${manifestDigest}; ${known.by} names ${known.value}`,
        },
      ];
    return isToldOf(stage, id)
      ? [{ object, message: `names the commit ${id}, which its attempt has not made by the ledger` }]
      : [];
  });
}

/** Where attempts began: at commits that were recorded before. */
function startDifferences(run: GatheredRun, stage: GatheredStage): Difference[] {
  const recorded = recordedManifests(run, stage);
  return recordsOf(stage.chain, 'attempt-opened').flatMap(({ entry: { epoch, from, fromDigest } }) => {
    if (from === null || fromDigest === undefined) return [];
    const object = stageLayout(stage.url).attempt(epochSchema.parse(epoch));
    const known = recorded.get(from);
    if (known !== undefined && known.value !== fromDigest)
      return [
        {
          object,
          message: `began at ${from} with the manifest ${fromDigest}; ${known.by} names ${known.value}`,
        },
      ];
    const made = recordsOf(stage.chain, 'attempt-ended').some(({ entry }) =>
      entry.commits.some(({ id }) => id === from),
    );
    return !made && isToldOf(stage, from)
      ? [{ object, message: `began at ${from}, which its attempt has not made by the ledger` }]
      : [];
  });
}

/** A mark is set by an attempt, and is there when that has ended. */
function markDifferences(stage: GatheredStage): Difference[] {
  const ends = toldEnds(stage);
  return stage.quarantines.flatMap(({ id, epoch, url }) => {
    const left = ends.get(epoch)?.left;
    if (left === undefined || left.quarantined.includes(id)) return [];
    return [{ object: url, message: `is said to be of attempt ${epoch}, by whose end it was not there` }];
  });
}

/** While a stage rests, everything is there that retention had left. */
function deletions(run: GatheredRun, stage: GatheredStage): Difference[] {
  const last = [...toldEnds(stage).values()].at(-1);
  if (last?.left === undefined || restOf(run, stage) === null) return [];
  return last.left.checkpoints.flatMap((id) => {
    const object = manifestUrl(objectUrl(stageLayout(stage.url).checkpoints, id));
    if (run.objects.has(pathBelow(run.runUrl, object))) return [];
    return [{ object, message: `is gone; it was there when attempt ${last.epoch} had ended` }];
  });
}
