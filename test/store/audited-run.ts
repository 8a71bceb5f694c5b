/**
 * A run as it lies in the object store after it was preempted, hung, parked, repaired by an operator and finished: written
 * object by object, so that tests can change any of them.
 */
import { readFile } from 'node:fs/promises';
import { digestSchema, jobSpecSchema } from '../../src/contracts/index.js';
import type {
  DatasetManifest,
  Digest,
  Epoch,
  HeadCommit,
  JobSpec,
  ModelRef,
  Outcome,
} from '../../src/contracts/index.js';
import { digestOf } from '../../src/domain/lib/digest.js';
import { encodeRecord, recordDigest } from '../../src/domain/ledger/chain.js';
import type { Artifact, AttemptSeconds, EntryOf, LedgerEntry } from '../../src/domain/ledger/records.js';
import { parseRecipe } from '../../src/domain/recipe/parse.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { ledgerRecordUrl, rootLayout, runLayout, stageLayout } from '../../src/contracts/layout.js';
import {
  attemptLeft,
  checkpointRef,
  createEmptyHead,
  describeBytes,
  encodeJson,
  openAttempt,
  openedObjects,
  ownRun,
  pinCheckpoint,
  quarantineCheckpoint,
  renewLease,
  sealedObjects,
  sha256,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { commitCheckpoint, freshPrefix } from './support.js';

const START = Date.UTC(2026, 0, 5, 23, 50);
/** Workflow run that the records are of. */
export const RUN_ID = '01993c5e-0000-7000-8000-000000000001';

/** An instant so many seconds after the run began. */
const at = (seconds: number): string => new Date(START + seconds * 1000).toISOString();

/** A run's records are numbered; those of an attempt have its owner token. */
function idOf(owner: string, index: number, entry: LedgerEntry): string {
  if (entry.type !== 'attempt-opened' && entry.type !== 'attempt-ended') return `${owner}#${index}`;
  return `${owner}/${entry.epoch}#${entry.type === 'attempt-opened' ? 'opened' : 'ended'}`;
}

/** Writes one chain, record after record, at instants of its own. */
export class ChainWriter {
  #tip: LedgerTip = { records: 0, tip: null };

  constructor(
    private readonly store: ObjectStore,
    readonly url: string,
    private readonly owner: string,
  ) {}

  /** How far it goes. */
  get tip(): LedgerTip {
    return this.#tip;
  }

  /** Appends an entry, so many seconds after the run began, under an id of its own if need be. */
  async add(seconds: number, entry: LedgerEntry, id?: string): Promise<void> {
    const index = this.#tip.records + 1;
    const bytes = encodeRecord({
      schema: 'longhaul.ledger/1',
      index,
      id: id ?? idOf(this.owner, index, entry),
      previous: this.#tip.tip,
      at: at(seconds),
      entry,
    });
    await this.store.create(ledgerRecordUrl(this.url, index), bytes);
    this.#tip = { records: index, tip: recordDigest(bytes) };
  }
}

/** Where the parts of the run are. */
export interface AuditedRun {
  readonly runUrl: string;
  readonly run: ChainWriter;
  readonly training: ChainWriter;
  readonly evaluation: ChainWriter;
  readonly stageUrl: string;
  readonly commit: HeadCommit;
  readonly datasetUrl: string;
  readonly model: ModelRef;
  readonly base: ModelRef;
}

const SECONDS: AttemptSeconds = {
  import: 4,
  load: 1,
  firstStep: 3,
  step: 29,
  save: 2,
  evaluate: 0,
  export: 0,
  queued: 1,
  hung: 0,
  stopping: 0,
};
const FINGERPRINT = { torch: '2.15.0', cpu: 'EPYC', threads: 2 };

/** Writes the run. Two devices at $3.60 an hour: $0.002 per second. */
export async function writeRun(store: ObjectStore): Promise<AuditedRun> {
  const rootUrl = freshPrefix();
  const runUrl = rootLayout(rootUrl).run('r');
  const layout = runLayout(runUrl);
  const recipeDigest = await writeRecipe(store, runUrl);
  await ownRun(store, { runUrl, namespace: 'default', workflowId: 'r', recipeDigest });
  const base = await writeModel(store, `${rootUrl}/models/base@0`, 'base weights', 'base');
  const dataset = await writeDataset(store, `${rootUrl}/datasets/stage-1@0`);
  const run = new ChainWriter(store, layout.ledger, `default/r/${RUN_ID}`);
  await run.add(0, {
    type: 'run-opened',
    run: 'r',
    recipeDigest,
    namespace: 'default',
    workflowId: 'r',
    runId: RUN_ID,
    objects: await openedObjects(store, runUrl),
  });
  await run.add(0, { type: 'stage-started', folder: '01-curation', kind: 'curation', title: 'Curation' });
  const curated = [{ kind: 'dataset', ...dataset } as const];
  const end = sealing(store, runUrl, run);
  await end(20, '01-curation', { artifacts: curated });
  const config = await writeObject(
    store,
    `${layout.stage('02-rope-bump')}/config.json`,
    '{"rope_theta": 8e4}',
  );
  await run.add(20, {
    type: 'stage-started',
    folder: '02-rope-bump',
    kind: 'rope-bump',
    title: 'RoPE bump to 8e4',
  });
  const bumped: Artifact[] = [{ kind: 'config', ...config }];
  await writeObject(store, stageLayout(layout.stage('02-rope-bump')).bump, '{"newTheta": 8e4}');
  await end(21, '02-rope-bump', { artifacts: bumped });
  const stageUrl = layout.stage('03-stage-1');
  const training = new ChainWriter(store, stageLayout(stageUrl).ledger, `default/r/03-stage-1/${RUN_ID}`);
  const inputs = { runUrl, stageUrl, base, dataset, config, recipeDigest };
  const { commit, model } = await trainStage(store, run, training, inputs);
  const evaluation = await evaluateStage(store, run, layout.stage('04-evaluation'), { ...inputs, model });
  await run.add(400, { type: 'stage-started', folder: '05-report', kind: 'report', title: 'Report' });
  const report = await writeObject(store, layout.report, '<html>');
  const written: Artifact[] = [{ kind: 'report', ...report }];
  await writeObject(store, layout.reportData, '{"stages": []}');
  await writeObject(store, `${runUrl}/drill/report.json`, '{}');
  await end(401, '05-report', { artifacts: written });
  await run.add(401, { type: 'run-ended', state: 'completed', why: '' });
  return {
    runUrl,
    run,
    training,
    evaluation,
    stageUrl,
    commit,
    datasetUrl: dataset.url.replace('/manifest.json', ''),
    model,
    base,
  };
}

interface StageInputs {
  readonly runUrl: string;
  readonly stageUrl: string;
  readonly base: ModelRef;
  readonly dataset: Ref;
  readonly config: Ref;
  readonly recipeDigest: Digest;
}

interface Ref {
  readonly url: string;
  readonly digest: Digest;
}

/** Three attempts: preempted at step 30 with a commit at 20; hung at 25; and, repaired by an operator, done at 50. */
async function trainStage(
  store: ObjectStore,
  run: ChainWriter,
  chain: ChainWriter,
  inputs: StageInputs,
): Promise<{ readonly commit: HeadCommit; readonly model: ModelRef }> {
  const { stageUrl } = inputs;
  const folder = '03-stage-1';
  const urls = stageLayout(stageUrl);
  const end = sealing(store, inputs.runUrl, run);
  const bytes = encodeJson(await trainSpec(inputs));
  await store.create(stageLayout(stageUrl).spec, bytes);
  const spec = { revision: 0, digest: sha256(bytes) };
  await createEmptyHead(store, stageUrl);
  await run.add(21, { type: 'stage-started', folder, kind: 'training', title: 'Stage 1, 1K' });
  const first = await claimFor(store, stageUrl, 1);
  await chain.add(21, opened(first, null, '', 'the first', spec));
  const kept = [
    await commitCheckpoint(store, stageUrl, first.epoch, 10),
    await commitCheckpoint(store, stageUrl, first.epoch, 20),
  ];
  const [ten, twenty] = kept;
  await writeOutcome(store, stageUrl, {
    ...common(first.epoch, 30),
    result: 'ended',
    class: 'preempted',
    message: 'SIGTERM',
    exception: '',
    frames: [],
  });
  await writeEvents(store, stageUrl, first.epoch);
  const left = await attemptLeft(store, { stageUrl, epoch: first.epoch, evaluated: false });
  await chain.add(61, ended(1, 'preempted', { step: 30, commits: kept, message: 'SIGTERM', left }));
  const second = await claimFor(store, stageUrl, 2);
  await chain.add(
    61,
    opened(second, twenty, `default/r/03-stage-1/${RUN_ID}/1`, 'after preempted: SIGTERM', spec),
  );
  await store.create(urls.log(second.epoch), new TextEncoder().encode('stuck\n'));
  const hung = { ...SECONDS, step: 7, hung: 60, queued: 1 };
  await chain.add(
    161,
    ended(2, 'hang', {
      step: 25,
      seconds: hung,
      wallSeconds: 100,
      message: 'no step for 60 s',
      left: await attemptLeft(store, { stageUrl, epoch: second.epoch, evaluated: false }),
    }),
  );
  const why = 'hang: 0 relaunches without progress are allowed, and used up';
  await end(161, folder, { result: 'parked', why, chain: chain.tip });
  await run.add(200, action('retryStage', { from: 'head' }));
  const third = await claimFor(store, stageUrl, 3);
  await chain.add(
    201,
    opened(third, twenty, `default/r/03-stage-1/${RUN_ID}/2`, 'retried by ann: new node', spec),
  );
  const commits = [
    await commitCheckpoint(store, stageUrl, third.epoch, 30),
    await commitCheckpoint(store, stageUrl, third.epoch, 40),
  ];
  const commit = await commitCheckpoint(store, stageUrl, third.epoch, 50);
  const model = await writeModel(store, stageLayout(stageUrl).export(commit.id), 'weights', stageUrl);
  const outcome = {
    ...common(third.epoch, 50),
    result: 'trained',
    commit,
    model,
    weightsDigest: sha256('w'),
    firstLoss: 3,
    lastLoss: 2,
  } as const;
  await writeOutcome(store, stageUrl, outcome);
  await writeEvents(store, stageUrl, third.epoch);
  if (ten !== undefined) {
    const found = { commit: ten.id, level: 'loaded', problems: ['a bit'] } as const;
    await quarantineCheckpoint(store, stageUrl, found, third.epoch);
  }
  const pin = { name: 'result', reason: 'the final checkpoint of a finished stage' };
  await pinCheckpoint(store, checkpointRef(stageUrl, commit), pin);
  const foreign = { name: 'adopted-by-0123456789ab', reason: 'the result of a stage of run s' };
  await pinCheckpoint(store, checkpointRef(stageUrl, commit), foreign);
  await store.create(urls.specOf(1), encodeJson({ ...(await trainSpec(inputs)), run: 'r' }));
  await writeObject(store, urls.result, '{"outcome": "trained"}');
  await renewLease(store, stageUrl, third.epoch, 60);
  const lastLeft = await attemptLeft(store, { stageUrl, epoch: third.epoch, evaluated: false });
  await chain.add(241, ended(3, 'done', { step: 50, commits: [...commits, commit], left: lastLeft }));
  const artifacts: Artifact[] = [
    { kind: 'checkpoint', url: stageLayout(stageUrl).checkpoint(commit.id), digest: commit.manifestDigest },
    { kind: 'model', ...model },
  ];
  await end(241, folder, { chain: chain.tip, artifacts });
  return { commit, model };
}

async function evaluateStage(
  store: ObjectStore,
  run: ChainWriter,
  stageUrl: string,
  inputs: StageInputs & { readonly model: ModelRef },
): Promise<ChainWriter> {
  const { runUrl } = inputs;
  const folder = '04-evaluation';
  const layout = stageLayout(stageUrl);
  await createEmptyHead(store, stageUrl);
  const bytes = encodeJson(await evaluateSpec({ ...inputs, stageUrl }));
  await store.create(layout.spec, bytes);
  await run.add(300, { type: 'stage-started', folder, kind: 'evaluation', title: 'Evaluation' });
  const chain = new ChainWriter(store, layout.ledger, `default/r/${folder}/${RUN_ID}`);
  const attempt = await claimFor(store, stageUrl, 1);
  const { epoch } = attempt;
  await chain.add(300, opened(attempt, null, '', 'the first', { revision: 0, digest: sha256(bytes) }));
  for (const sample of ['a', 'b'])
    await writeObject(store, layout.record('0123456789abcdef', sample), sample);
  const results = await writeObject(store, layout.results, '{}');
  const outcome = {
    ...common(epoch, 0),
    result: 'evaluated',
    samples: 90,
    reusedSamples: 0,
    resultsDigest: results.digest,
  } as const;
  await writeOutcome(store, stageUrl, { ...outcome, tokens: 0 });
  const seconds = { ...SECONDS, firstStep: 0, step: 0, evaluate: 80 };
  const left = await attemptLeft(store, { stageUrl, epoch, evaluated: true });
  await chain.add(400, ended(1, 'done', { step: 90, seconds, wallSeconds: 100, tokens: 0, left }));
  const artifacts: Artifact[] = [{ kind: 'results', ...results }];
  await sealing(store, runUrl, run)(400, folder, { chain: chain.tip, artifacts });
  return chain;
}

/** An operator's action. */
export function action(
  name: Extract<LedgerEntry, { type: 'action' }>['action'],
  detail: Readonly<Record<string, unknown>> = {},
  actor = 'ann',
): LedgerEntry {
  return { type: 'action', action: name, actor, actorKind: 'asserted', reason: 'new node', detail };
}

function opened(
  { epoch, attemptDigest }: ClaimedAttempt,
  from: HeadCommit | null | undefined,
  previousOwner: string,
  why: string,
  spec: EntryOf<'attempt-opened'>['spec'],
): LedgerEntry {
  const begins = { from: from?.id ?? null, fromDigest: from?.manifestDigest, attemptDigest };
  return { type: 'attempt-opened', epoch, job: `r.03-stage-1.${epoch}`, ...begins, previousOwner, why, spec };
}

type Ended = Extract<LedgerEntry, { type: 'attempt-ended' }>;

function ended(
  epoch: number,
  failureClass: Ended['class'],
  {
    step,
    commits = [],
    ...rest
  }: Partial<Omit<Ended, 'commits'>> & { step: number; commits?: readonly HeadCommit[] },
): LedgerEntry {
  return {
    type: 'attempt-ended',
    epoch,
    class: failureClass,
    message: '',
    signature: failureClass,
    step,
    tokens: step * 100,
    seconds: SECONDS,
    wallSeconds: 40,
    commits: commits.map(({ id, step, manifestDigest }) => ({ id, step, manifestDigest })),
    node: 'node-7',
    note: '',
    ...rest,
  };
}

function common(epoch: Epoch, step: number) {
  const { import: imports, load, firstStep, step: steps, save, evaluate, export: exports } = SECONDS;
  return {
    schema: 'longhaul.outcome/1',
    epoch,
    startedAt: at(0),
    endedAt: at(1),
    seconds: { import: imports, load, firstStep, step: steps, save, evaluate, export: exports },
    fingerprint: FINGERPRINT,
    step,
    tokens: step * 100,
  } as const;
}

async function writeOutcome(store: ObjectStore, stageUrl: string, outcome: Outcome): Promise<void> {
  await store.create(stageLayout(stageUrl).outcome(outcome.epoch), encodeJson(outcome));
}

interface ClaimedAttempt {
  readonly epoch: Epoch;
  readonly attemptDigest: Digest;
}

async function claimFor(store: ObjectStore, stageUrl: string, attempt: number): Promise<ClaimedAttempt> {
  const { epoch } = await openAttempt(store, { stageUrl, owner: `owner/${attempt}` });
  const url = stageLayout(stageUrl).attemptFile(epoch);
  const { digest: attemptDigest } = await writeObject(store, url, `{"attempt": ${attempt}}`);
  return { epoch, attemptDigest };
}

async function writeEvents(store: ObjectStore, stageUrl: string, epoch: Epoch): Promise<void> {
  for (const index of [1, 2]) {
    await writeObject(store, stageLayout(stageUrl).eventFile(epoch, index), `{"events": ${index}}`);
  }
}

/** Records the ends of stages as the run's workflow does, with the digests of what they have left. */
function sealing(store: ObjectStore, runUrl: string, run: ChainWriter) {
  return async (
    seconds: number,
    folder: string,
    given: Partial<Omit<EntryOf<'stage-ended'>, 'type' | 'folder'>>,
  ): Promise<void> => {
    const withReport = (given.artifacts ?? []).some(({ kind }) => kind === 'report');
    const objects = await sealedObjects(store, runUrl, folder, { withReport });
    const done = { result: 'done' as const, why: '', chain: null, artifacts: [] };
    await run.add(seconds, { type: 'stage-ended', folder, ...done, ...given, objects });
  };
}

async function writeRecipe(store: ObjectStore, runUrl: string): Promise<Digest> {
  const parsed = parseRecipe({ cost: { gpu: 'H100', gpus: 2, pricePerGpuHour: 3.6 } });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  await store.create(runLayout(runUrl).recipe, encodeJson(parsed.recipe));
  return digestSchema.parse(digestOf(parsed.recipe));
}

async function writeObject(store: ObjectStore, url: string, text: string): Promise<Ref> {
  const bytes = new TextEncoder().encode(text);
  await store.create(url, bytes);
  return { url, digest: sha256(bytes) };
}

async function writeModel(
  store: ObjectStore,
  url: string,
  weights: string,
  origin: string,
): Promise<ModelRef> {
  const contents = { 'config.json': '{}', 'model.safetensors': weights.repeat(50) };
  const files = Object.entries(contents).map(([name, text]) => describeBytes(name, Buffer.from(text)));
  for (const [name, text] of Object.entries(contents)) await store.put(`${url}/${name}`, Buffer.from(text));
  const manifest = encodeJson({ schema: 'longhaul.model/1', files, origin });
  await store.create(`${url}/manifest.json`, manifest);
  return { url, digest: sha256(manifest) };
}

async function writeDataset(store: ObjectStore, url: string): Promise<Ref> {
  const shards = [];
  for (const number of [0, 1]) {
    const bytes = Buffer.from(`rows of shard ${number} `.repeat(200));
    const file = `shard.0000${number}.mds`;
    await store.create(`${url}/${file}`, bytes);
    const rows = { firstRow: number, rows: 1, rowDomains: [0], rowSumSquares: [1] };
    shards.push({ file, bytes: bytes.length, sha256: sha256(bytes), ...rows });
  }
  const manifest: DatasetManifest = {
    schema: 'longhaul.dataset/1',
    name: 'stage-1',
    sequenceLengthTokens: 1024,
    rows: 2,
    tokens: 2048,
    hasMask: false,
    tokenizerDigest: sha256('tokenizer'),
    vocabularySize: 4096,
    seed: 42,
    domains: [{ name: 'books', rows: 2, documents: 2, passes: 1, untrainedDocuments: 0 }],
    sources: [],
    shards,
  };
  const bytes = encodeJson(manifest);
  await store.create(`${url}/manifest.json`, bytes);
  return { url: `${url}/manifest.json`, digest: sha256(bytes) };
}

async function trainSpec({ stageUrl, base, dataset, config, recipeDigest }: StageInputs): Promise<JobSpec> {
  const spec = await fixture('train-from-model');
  if (spec.kind !== 'train') throw new Error('the fixture trains');
  return {
    ...spec,
    stageUrl,
    recipeDigest,
    initialize: { from: 'model', model: base },
    config,
    tokenizer: base,
    data: { ...spec.data, dataset: { manifestUrl: dataset.url, digest: dataset.digest } },
  };
}

async function evaluateSpec({
  stageUrl,
  recipeDigest,
  model,
}: StageInputs & { model: ModelRef }): Promise<JobSpec> {
  const spec = await fixture('evaluate');
  if (spec.kind !== 'evaluate') throw new Error('the fixture evaluates');
  const tasks = spec.tasks.filter(({ task }) => task === 'kv-recall');
  return { ...spec, stageUrl, recipeDigest, targets: [{ name: 'stage-1', model }], tasks };
}

async function fixture(name: string): Promise<JobSpec> {
  const file = new URL(`../../src/contracts/fixtures/valid/job-spec/${name}.json`, import.meta.url);
  return jobSpecSchema.parse(JSON.parse(await readFile(file, 'utf8')));
}
