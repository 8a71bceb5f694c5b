/** Every key and prefix in the object store, in one place. All values are `s3://bucket/key` URLs. */
import { commitIdSchema } from './common.js';
import type { CommitId, Digest, Epoch } from './common.js';
import { recordName } from '../domain/ledger/chain.js';
import { shortDigest } from '../domain/lib/digest.js';
import { epochText } from '../domain/run/names.js';

/** Bucket and key of an object or prefix. */
export interface Location {
  readonly bucket: string;
  readonly key: string;
}

/** Takes `s3://bucket/key` apart. @throws RangeError for anything else. */
export function parseUrl(url: string): Location {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]+)\/(.+)$/.exec(url);
  const [, bucket, key] = match ?? [];
  if (bucket === undefined || key === undefined)
    throw new RangeError(`expected s3://bucket/key, got ${JSON.stringify(url)}`);
  return { bucket, key };
}

/** Builds `s3://bucket/key`. */
export function formatUrl({ bucket, key }: Location): string {
  return `s3://${bucket}/${key}`;
}

/** The object at a path below a prefix. */
export function objectUrl(prefixUrl: string, path: string): string {
  return `${prefixUrl}/${path}`;
}

/** The path below a prefix of an object that lies there. */
export function pathBelow(prefixUrl: string, url: string): string {
  return url.slice(prefixUrl.length + 1);
}

/** Whether an object or a prefix lies below a prefix. */
export function isBelow(prefixUrl: string, url: string): boolean {
  return url.startsWith(`${prefixUrl}/`);
}

/** Names of objects that are told from others of their folder. */
export const NAMES = {
  manifest: 'manifest.json',
  quarantine: 'quarantine.json',
  /** Folder of a checkpoint's pins. */
  pins: 'pins',
  attemptFile: 'attempt.json',
  outcome: 'outcome.json',
  config: 'config.json',
  tokenizer: 'tokenizer.json',
} as const;

/** Manifest of a dataset, a model or a checkpoint, by the prefix of the files that it names. */
export function manifestUrl(prefixUrl: string): string {
  return objectUrl(prefixUrl, NAMES.manifest);
}

/** The prefix that a manifest describes. What is no manifest is that prefix already. */
export function prefixOf(url: string): string {
  return url.endsWith(`/${NAMES.manifest}`) ? url.slice(0, -NAMES.manifest.length - 1) : url;
}

/**
 * Folder of what a name and a digest stand for. Joined by a dot, because loaders of datasets read `path@share` and
 * `path#repeats`: a path may have neither sign.
 */
export function contentFolder(name: string, digest: string): string {
  return `${name}.${shortDigest(digest)}`;
}

/** What lies below the root prefix: datasets, models and runs. */
export const rootLayout = (rootUrl: string) => ({
  datasets: `${rootUrl}/datasets`,
  /** `folder`: see `contentFolder`. */
  dataset: (folder: string) => `${rootUrl}/datasets/${folder}`,
  model: (name: string, digest: Digest) => `${rootUrl}/models/${contentFolder(name, digest)}`,
  runs: `${rootUrl}/runs`,
  run: (run: string) => `${rootUrl}/runs/${run}`,
  /** Result of a stage, by the beginning of the digest of what it computes; the object holds the whole one. */
  sharedResult: (key: Digest) => `${rootUrl}/results/${shortDigest(key)}.json`,
  /** Scratch space for probes. */
  probes: `${rootUrl}/.probes`,
});

/** What lies in a model's folder, by its prefix; the files besides are named by the manifest. */
export const modelLayout = (modelUrl: string) => ({
  manifest: manifestUrl(modelUrl),
  config: objectUrl(modelUrl, NAMES.config),
  tokenizer: objectUrl(modelUrl, NAMES.tokenizer),
});

/** What lies below a run's prefix. */
export const runLayout = (runUrl: string) => ({
  recipe: `${runUrl}/recipe.json`,
  owner: `${runUrl}/owner.json`,
  /** Chain of the run's own ledger. */
  ledger: `${runUrl}/ledger`,
  stages: `${runUrl}/stages`,
  /** `folder`: `<nn-name>`. */
  stage: (folder: string) => `${runUrl}/stages/${folder}`,
  report: `${runUrl}/report/index.html`,
  /** What the report's page was made of. */
  reportData: `${runUrl}/report/data.json`,
  /** What a drill has found, written when the run is over. */
  drill: `${runUrl}/drill/report.json`,
  /** The same for people. */
  drillText: `${runUrl}/drill/report.txt`,
});

/** Record of a ledger's chain; numbered from 1. */
export function ledgerRecordUrl(chainUrl: string, index: number): string {
  return `${chainUrl}/${recordName(index)}`;
}

/** What lies below a stage's prefix. */
export const stageLayout = (stageUrl: string) => {
  const checkpoint = (commit: CommitId) => `${stageUrl}/checkpoints/${commit}`;
  const attempt = (epoch: Epoch) => `${stageUrl}/attempts/${epochText(epoch)}`;
  return {
    spec: `${stageUrl}/spec.json`,
    /** Spec of a stage whose settings a retry has changed so many times; 0: as the recipe has them. */
    specOf: (revision: number) => `${stageUrl}/${revision === 0 ? 'spec' : `spec-${revision}`}.json`,
    head: `${stageUrl}/HEAD`,
    lease: `${stageUrl}/lease.json`,
    /** Chain of the stage's ledger. */
    ledger: `${stageUrl}/ledger`,
    config: objectUrl(stageUrl, NAMES.config),
    bump: `${stageUrl}/bump.json`,
    /** The outcome that a finished stage is adopted by. */
    result: `${stageUrl}/result.json`,
    results: `${stageUrl}/results.json`,
    checkpoints: `${stageUrl}/checkpoints`,
    checkpoint,
    manifest: (commit: CommitId) => manifestUrl(checkpoint(commit)),
    quarantine: (commit: CommitId) => objectUrl(checkpoint(commit), NAMES.quarantine),
    pins: (commit: CommitId) => objectUrl(checkpoint(commit), NAMES.pins),
    pin: (commit: CommitId, name: string) => `${checkpoint(commit)}/${NAMES.pins}/${name}.json`,
    attempts: `${stageUrl}/attempts`,
    attempt,
    /** What the control plane tells an attempt, before its launch. */
    attemptFile: (epoch: Epoch) => objectUrl(attempt(epoch), NAMES.attemptFile),
    events: (epoch: Epoch) => `${attempt(epoch)}/events`,
    /** Event file; numbered from 1. */
    eventFile: (epoch: Epoch, index: number) =>
      `${attempt(epoch)}/events/${String(index).padStart(6, '0')}.json`,
    outcome: (epoch: Epoch) => objectUrl(attempt(epoch), NAMES.outcome),
    log: (epoch: Epoch) => `${attempt(epoch)}/log.txt`,
    exports: `${stageUrl}/export`,
    /** Hugging Face folder made from a commit. */
    export: (commit: CommitId) => `${stageUrl}/export/${commit}`,
    recordsRoot: `${stageUrl}/records`,
    records: (key: string) => `${stageUrl}/records/${key}`,
    record: (key: string, sample: string) => `${stageUrl}/records/${key}/${sample}.json`,
  };
};

/** The name of the run that has this prefix. */
export function runIn(runUrl: string): string {
  return runUrl.split('/').at(-1) ?? '';
}

/** The root prefix below which a run lies. */
export function rootOfRun(runUrl: string): string {
  return runUrl.replace(/\/runs\/[^/]+$/, '');
}

/** The root prefix below which a stage's run lies. */
export function rootOfStage(stageUrl: string): string {
  return stageUrl.replace(/\/runs\/[^/]+\/stages\/[^/]+$/, '');
}

/** Prefix of the stage that an object belongs to; null: of none. */
export function stageOf(url: string): string | null {
  return /^s3:\/\/.+\/runs\/[^/]+\/stages\/[^/]+(?=\/)/.exec(url)?.[0] ?? null;
}

/** Stage and name of the checkpoint that has this prefix, neither of them looked at; null: it is none's. */
export function checkpointIn(
  prefixUrl: string,
): { readonly stageUrl: string; readonly commit: string } | null {
  const [, stageUrl, commit] = /^(.+)\/checkpoints\/([^/]+)$/.exec(prefixUrl) ?? [];
  return stageUrl === undefined || commit === undefined ? null : { stageUrl, commit };
}

/** Name of a checkpoint. `nonce`: 8 hex digits. */
export function formatCommitId(step: number, epoch: Epoch, nonce: string): CommitId {
  return commitIdSchema.parse(`${String(step).padStart(8, '0')}-${epochText(epoch)}-${nonce}`);
}

/** Step and epoch in a commit's name. */
export function partsOfCommitId(commit: CommitId): { readonly step: number; readonly epoch: number } {
  const [step, epoch] = commit.split('-').map(Number);
  return { step: step ?? 0, epoch: epoch ?? 0 };
}

/**
 * Every kind of object below a run's prefix, by the form of its path below it: what has none of these forms is no object of a
 * run.
 */
export const RUN_OBJECTS = {
  recipe: /^recipe\.json$/,
  owner: /^owner\.json$/,
  'run-record': /^ledger\/\d{6,}\.json$/,
  report: /^report\/index\.html$/,
  'report-data': /^report\/data\.json$/,
  /** What a drill has found, written when the run is over. */
  drill: /^drill\/report\.(json|txt)$/,
  spec: /^stages\/[^/]+\/spec(-[1-9]\d*)?\.json$/,
  head: /^stages\/[^/]+\/HEAD$/,
  lease: /^stages\/[^/]+\/lease\.json$/,
  'stage-record': /^stages\/[^/]+\/ledger\/\d{6,}\.json$/,
  config: /^stages\/[^/]+\/config\.json$/,
  bump: /^stages\/[^/]+\/bump\.json$/,
  result: /^stages\/[^/]+\/result\.json$/,
  results: /^stages\/[^/]+\/results\.json$/,
  'checkpoint-manifest': /^stages\/[^/]+\/checkpoints\/[^/]+\/manifest\.json$/,
  quarantine: /^stages\/[^/]+\/checkpoints\/[^/]+\/quarantine\.json$/,
  pin: /^stages\/[^/]+\/checkpoints\/[^/]+\/pins\/(?!adopted-by-)[^/]+\.json$/,
  /** Of another run, which needs the checkpoint: it may come and go at any time. */
  'foreign-pin': /^stages\/[^/]+\/checkpoints\/[^/]+\/pins\/adopted-by-[^/]+\.json$/,
  'checkpoint-file': /^stages\/[^/]+\/checkpoints\/[^/]+\/(?!pins\/).+$/,
  attempt: /^stages\/[^/]+\/attempts\/\d{4,}\/attempt\.json$/,
  events: /^stages\/[^/]+\/attempts\/\d{4,}\/events\/\d{6,}\.json$/,
  outcome: /^stages\/[^/]+\/attempts\/\d{4,}\/outcome\.json$/,
  log: /^stages\/[^/]+\/attempts\/\d{4,}\/log\.txt$/,
  'export-manifest': /^stages\/[^/]+\/export\/[^/]+\/manifest\.json$/,
  'export-file': /^stages\/[^/]+\/export\/[^/]+\/.+$/,
  'evaluation-record': /^stages\/[^/]+\/records\/[^/]+\/[^/]+\.json$/,
} as const;
export type RunObject = keyof typeof RUN_OBJECTS;

/** The kind of an object by its path below the run's prefix; null: none. The first form that fits is meant. */
export function runObjectOf(path: string): RunObject | null {
  return RUN_OBJECT_NAMES.find((kind) => RUN_OBJECTS[kind].test(path)) ?? null;
}

/** All kinds, in order. */
export const RUN_OBJECT_NAMES = Object.keys(RUN_OBJECTS).filter(
  (name): name is RunObject => name in RUN_OBJECTS,
);
