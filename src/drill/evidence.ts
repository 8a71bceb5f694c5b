/** What a finished run left in the store that two runs can be compared by. */
import {
  checkpointManifestSchema,
  epochSchema,
  evaluationResultsSchema,
  jobSpecSchema,
} from '../contracts/index.js';
import type { CheckpointManifest, CommitId, Outcome, TrainSpec } from '../contracts/index.js';
import { digestOf } from '../domain/lib/digest.js';
import { readOutcome } from '../store/attempt-files.js';
import { partsOfCommitId, runLayout, stageLayout } from '../contracts/layout.js';
import type { ObjectStore } from '../store/object-store.js';
import { findSpecUrl } from '../store/stage-spec.js';
import { mapConcurrently } from '../store/transfer.js';

const PARALLEL_READS = 8;

/** One attempt of a stage. */
export interface AttemptEvidence {
  readonly epoch: number;
  /** Failure class, `done`, or null: the job died without a word. */
  readonly ended: string | null;
  /** Numerics fingerprint; null where the job left none. */
  readonly fingerprint: Readonly<Record<string, string | number | boolean>> | null;
}

/** Rows that one commit of the final line consumed: `[first, end)`, by the stage's own count. */
export interface ConsumedRows {
  readonly commit: CommitId;
  readonly first: number;
  readonly end: number;
}

/** A finished training stage. */
export interface TrainedEvidence {
  readonly kind: 'train';
  readonly folder: string;
  readonly weightsDigest: string;
  /** Digest per file of the final checkpoint: weights, optimizer moments, counters with the loss of every step. */
  readonly files: readonly { readonly path: string; readonly digest: string }[];
  /** Commits that led to the final one, oldest first, as far back as retention has kept their manifests. */
  readonly consumed: readonly ConsumedRows[];
  /** Rows that the spec says the stage consumes. */
  readonly rows: number;
  /** Seconds that the attempt which finished the stage spent on steps and saves. */
  readonly trainingSeconds: number;
  /** Positions that do not follow from the step, and datasets that are not the spec's. */
  readonly problems: readonly string[];
  readonly attempts: readonly AttemptEvidence[];
}

/** A finished evaluation. */
export interface EvaluatedEvidence {
  readonly kind: 'evaluate';
  readonly folder: string;
  readonly samples: number;
  /** Digest over the answers and losses, without what differs between any two runs. */
  readonly answersDigest: string;
  readonly attempts: readonly AttemptEvidence[];
}

/** A stage that has begun and has no result. */
export interface UnfinishedEvidence {
  readonly kind: 'unfinished';
  readonly folder: string;
  readonly attempts: readonly AttemptEvidence[];
}

export type StageEvidence = TrainedEvidence | EvaluatedEvidence | UnfinishedEvidence;

/** Reads the evidence of every stage that had a job, in the order of their folders. */
export async function readEvidence(store: ObjectStore, runUrl: string): Promise<StageEvidence[]> {
  const layout = runLayout(runUrl);
  const stages: StageEvidence[] = [];
  for (const folder of (await store.folders(layout.stages)).sort()) {
    const stageUrl = layout.stage(folder);
    if (!(await store.exists(stageLayout(stageUrl).spec))) continue; // a bump or another stage without a job
    stages.push(await stageEvidence(store, folder, stageUrl));
  }
  return stages;
}

async function stageEvidence(store: ObjectStore, folder: string, stageUrl: string): Promise<StageEvidence> {
  const outcomes = await outcomesOf(store, stageUrl);
  const attempts = outcomes.map(evidenceOf);
  const outcome = outcomes.findLast((one) => one.outcome !== null && one.outcome.result !== 'ended')?.outcome;
  const specUrl = await findSpecUrl(store, stageUrl, outcome?.epoch ?? null);
  const { value: spec } = await store.getJson(specUrl, jobSpecSchema);
  if (outcome?.result === 'trained' && spec.kind === 'train') {
    return { kind: 'train', folder, attempts, ...(await trainedEvidence(store, spec, outcome)) };
  }
  if (outcome?.result === 'evaluated') {
    const { value } = await store.getJson(stageLayout(stageUrl).results, evaluationResultsSchema);
    const answers = value.records.map((record) => ({ ...record, key: undefined, finishedAt: undefined }));
    return {
      kind: 'evaluate',
      folder,
      samples: outcome.samples,
      answersDigest: digestOf(answers),
      attempts,
    };
  }
  return { kind: 'unfinished', folder, attempts };
}

interface AttemptOutcome {
  readonly epoch: number;
  readonly outcome: Outcome | null;
}

async function outcomesOf(store: ObjectStore, stageUrl: string): Promise<AttemptOutcome[]> {
  const epochs = (await store.folders(stageLayout(stageUrl).attempts)).map(Number).sort((a, b) => a - b);
  return mapConcurrently(epochs, PARALLEL_READS, async (epoch) => ({
    epoch,
    outcome: await readOutcome(store, stageUrl, epochSchema.parse(epoch)),
  }));
}

function evidenceOf({ epoch, outcome }: AttemptOutcome): AttemptEvidence {
  return { epoch, ended: endOf(outcome), fingerprint: outcome?.fingerprint ?? null };
}

function endOf(outcome: Outcome | null): string | null {
  if (outcome === null) return null;
  return outcome.result === 'ended' ? outcome.class : 'done';
}

async function trainedEvidence(
  store: ObjectStore,
  spec: TrainSpec,
  { commit, weightsDigest, seconds }: Extract<Outcome, { result: 'trained' }>,
) {
  const line = await lineTo(store, spec.stageUrl, commit.id);
  const { steps, globalBatchTokens, sequenceLengthTokens, dataset } = spec.data;
  const rowsPerStep = globalBatchTokens / sequenceLengthTokens;
  const problems = line.flatMap(({ id, step, dataPosition }) => [
    ...(dataPosition.nextSample === step * rowsPerStep
      ? []
      : [`${id} says that row ${dataPosition.nextSample} comes next, but ${step} steps end at another`]),
    ...(dataPosition.datasetDigest === dataset.digest ? [] : [`${id} was trained on another dataset`]),
  ]);
  const consumed = line.map(({ id, parent, dataPosition }) => ({
    commit: id,
    first: parent === null ? 0 : partsOfCommitId(parent).step * rowsPerStep,
    end: dataPosition.nextSample,
  }));
  const files = (line.at(-1)?.files ?? []).map(({ path, parts }) => ({ path, digest: digestOf(parts) }));
  const trainingSeconds = seconds.firstStep + seconds.step + seconds.save;
  return { weightsDigest, files, consumed, rows: steps * rowsPerStep, trainingSeconds, problems };
}

/** Manifests from the oldest that is left to the given one, along `parent`. */
async function lineTo(store: ObjectStore, stageUrl: string, last: CommitId): Promise<CheckpointManifest[]> {
  const line: CheckpointManifest[] = [];
  let next: CommitId | null = last;
  while (next !== null) {
    const url = stageLayout(stageUrl).manifest(next);
    const manifest: CheckpointManifest | undefined = (await store.findJson(url, checkpointManifestSchema))
      ?.value;
    if (manifest === undefined) break;
    line.unshift(manifest);
    next = manifest.parent;
  }
  return line;
}
