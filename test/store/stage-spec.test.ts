import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { createReportActivities } from '../../activities/report.js';
import { saveResult } from '../../activities/attempt/result.js';
import { digestSchema, outcomeSchema, trainSpecSchema } from '../../src/contracts/index.js';
import type { TrainSpec } from '../../src/contracts/index.js';
import { parseRecipe, recipeDigest } from '../../src/domain/recipe/parse.js';
import { readEvidence } from '../../src/drill/evidence.js';
import { reportDataSchema } from '../../src/report/data/report-data.js';
import { runLayout, stageLayout } from '../../src/contracts/layout.js';
import { appendRecord, createEmptyHead, encodeJson, findSpecUrl, sha256 } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import trainJson from '../../src/contracts/fixtures/valid/job-spec/train-from-checkpoint.json' with { type: 'json' };
import { fakeOutcome } from '../support/fake-activities.js';
import { runStatus, stageStatus } from '../support/run-status.js';
import { claim, commitCheckpoint, freshPrefix, useS3Server } from './support.js';

const FOLDER = '03-stage-1';
const server = useS3Server();
let store: ObjectStore;
let runUrl: string;
let stageUrl: string;
/** The stage's specs, by revision. */
let specs: TrainSpec[];

beforeEach(async () => {
  store = server.current.connect();
  runUrl = `${freshPrefix()}/runs/r`;
  stageUrl = runLayout(runUrl).stage(FOLDER);
  specs = [];
  const { data } = trainJson;
  for (const [revision, steps] of [40, 60, 80].entries()) {
    const manifestUrl = `${runUrl}/datasets/revision-${String(revision)}/manifest.json`;
    const dataset = { manifestUrl, digest: sha256(manifestUrl) };
    const spec = trainSpecSchema.parse({ ...trainJson, stageUrl, data: { ...data, steps, dataset } });
    await store.put(stageLayout(stageUrl).specOf(revision), encodeJson(spec));
    specs.push(spec);
  }
});

/** Records that an attempt began; `revision` null: as earlier versions did. */
async function open(epoch: number, revision: number | null): Promise<void> {
  await appendRecord(store, stageLayout(stageUrl).ledger, {
    id: `owner/${String(epoch)}#opened`,
    after: { records: 0, tip: null },
    entry: {
      type: 'attempt-opened',
      epoch,
      job: `r-${String(epoch)}`,
      from: null,
      previousOwner: '',
      why: 'a test',
      ...(revision === null ? {} : { spec: { revision, digest: sha256(`revision ${String(revision)}`) } }),
    },
  });
}

/** Two attempts, of which the second worked by other settings and finished; and one of further settings, made after it. */
async function finishBySecondRevision(): Promise<void> {
  const [, spec] = specs;
  if (spec === undefined) throw new Error('there are three specs');
  await createEmptyHead(store, stageUrl);
  await claim(store, stageUrl);
  const epoch = await claim(store, stageUrl);
  const commit = await commitCheckpoint(store, stageUrl, epoch, spec.data.steps);
  const model = { url: stageLayout(stageUrl).export(commit.id), digest: sha256('a manifest') };
  await store.put(`${model.url}/manifest.json`, Buffer.from('a manifest'));
  const outcome = { ...fakeOutcome(spec, epoch), commit, model };
  if (outcome.result !== 'trained') throw new Error('training trains');
  await store.putJson(stageLayout(stageUrl).outcome(epoch), outcomeSchema, outcome);
  await saveResult(store, stageUrl, { outcome, stageUrl });
  await open(1, 0);
  await open(2, 1);
  await open(3, 2);
}

describe('a result is read with the settings that it was made with', () => {
  it('finds the spec of the attempt, else the last one that is named, else the first', async () => {
    const { specOf } = stageLayout(stageUrl);
    expect(await findSpecUrl(store, stageUrl, null)).toBe(specOf(0));
    await open(1, null);
    expect(await findSpecUrl(store, stageUrl, 1)).toBe(specOf(0));
    await open(2, 1);
    await open(3, 2);
    expect(await findSpecUrl(store, stageUrl, 2)).toBe(specOf(1));
    expect(await findSpecUrl(store, stageUrl, null)).toBe(specOf(2));
  });

  it('by a drill, which counts the rows by them', async () => {
    await finishBySecondRevision();
    const { sequenceLengthTokens, globalBatchTokens } = trainJson.data;
    expect(await readEvidence(store, runUrl)).toMatchObject([
      { kind: 'train', rows: (60 * globalBatchTokens) / sequenceLengthTokens },
    ]);
  });

  it('by the report', async () => {
    await finishBySecondRevision();
    await writeReport();
    const { value } = await store.getJson(`${runUrl}/report/data.json`, reportDataSchema);
    // The datasets are not there: which of them it has looked for, the notes say.
    const notes = JSON.stringify(value);
    expect(notes).toContain('revision-1/manifest.json');
    expect(notes).not.toMatch(/revision-[02]\/manifest\.json/);
  });
});

/** Writes the report of the run as it stands. */
function writeReport(): Promise<unknown> {
  const parsed = parseRecipe({});
  if (!parsed.ok) throw new Error('the tiny preset does not parse');
  const { recipe } = parsed;
  const digest = digestSchema.parse(recipeDigest(recipe));
  const times = { startedAt: '2026-01-01T00:00:00.000Z', endedAt: '2026-01-01T00:01:00.000Z' };
  const stage = stageStatus({ folder: FOLDER, state: 'done', attempts: 2, ...times });
  const status = runStatus({ stages: [stage], runUrl, recipeDigest: digest });
  const activities = createReportActivities({ store });
  const request = { run: 'r', runUrl, recipe, recipeDigest: digest, status };
  return new MockActivityEnvironment().run(() => activities.writeReport(request));
}
