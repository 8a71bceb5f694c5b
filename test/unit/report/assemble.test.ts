import { describe, expect, it } from 'vitest';
import {
  datasetManifestSchema,
  digestSchema,
  jobEventSchema,
  jobSpecSchema,
  outcomeSchema,
} from '../../../src/contracts/index.js';
import type { JobEvent, ModelRef } from '../../../src/contracts/index.js';
import { sha256OfText } from '../../../src/domain/lib/digest.js';
import { plan } from '../../../src/domain/plan/plan.js';
import { parseRecipe, recipeDigest } from '../../../src/domain/recipe/parse.js';
import { walk } from '../../../src/domain/walk/walk.js';
import { assembleReport } from '../../../src/report/data/assemble.js';
import type { Gathered, GatheredStage } from '../../../src/report/data/gathered.js';
import { renderReport } from '../../../src/report/page/page.js';
import { runStatus, stageStatus } from '../../support/run-status.js';

const RUN_URL = 's3://bucket/prefix/runs/r';
const T0 = Date.UTC(2026, 10, 24);
const at = (seconds: number) => new Date(T0 + seconds * 1000).toISOString();
const digest = (text: string) => digestSchema.parse(sha256OfText(text));

function tinyRecipe() {
  const parsed = parseRecipe({});
  if (!parsed.ok) throw new Error('the tiny preset does not parse');
  return parsed.recipe;
}

const recipe = tinyRecipe();
const steps = walk(recipe);
const folderOf = (stage: string) =>
  steps.find((step) => (step.kind === 'training' || step.kind === 'sft') && step.stage === stage)?.folder ??
  '';
const BASE: ModelRef = { url: 's3://bucket/prefix/models/base', digest: digest('base') };
const ROWS = { url: 's3://bucket/prefix/datasets/stage-1/manifest.json', digest: digest('rows') };

const status = runStatus({
  stages: steps.map(({ folder, title, kind }, index) =>
    stageStatus({
      folder,
      title,
      kind,
      state: kind === 'report' ? 'running' : 'done',
      startedAt: at(index * 10),
      endedAt: kind === 'report' ? null : at(index * 10 + 9),
    }),
  ),
  runUrl: RUN_URL,
  recipeDigest: recipeDigest(recipe),
  startedAt: at(0),
});

function stepEvent(step: number, loss: number): JobEvent {
  return jobEventSchema.parse({
    type: 'step',
    at: at(20 + step),
    step,
    tokens: step * 16_384,
    loss,
    validTokens: 16_000,
    learningRate: 1e-3,
    gradientNorm: 1,
    seconds: 1,
  });
}

const SECONDS = { import: 5, load: 1, firstStep: 2, step: 20, save: 1, evaluate: 0, export: 1 };
const common = {
  schema: 'longhaul.outcome/1',
  seconds: SECONDS,
  fingerprint: { torch: '2.15.0', threads: 2 },
};

/** Stage 1: preempted after step 3, resumed from step 2, done after step 4. */
function trainingStage(): GatheredStage {
  const folder = folderOf('stage-1');
  const commit = {
    id: '00000004-0002-0a1b2c3d',
    step: 4,
    tokens: 65_536,
    manifestDigest: digest('manifest'),
  };
  const url = `${RUN_URL}/stages/${folder}`;
  const stage = recipe.stages['stage-1'];
  return {
    folder,
    url,
    results: null,
    spec: jobSpecSchema.parse({
      schema: 'longhaul.job-spec/1',
      run: 'r',
      stage: folder,
      stageUrl: url,
      recipeDigest: recipeDigest(recipe),
      runtime: recipe.runtime,
      events: { flushSeconds: 1, flushBytes: 1000 },
      kind: 'train',
      initialize: { from: 'model', model: BASE },
      config: { url: `${RUN_URL}/stages/03-rope/config.json`, digest: digest('config') },
      tokenizer: BASE,
      data: {
        dataset: { manifestUrl: ROWS.url, digest: ROWS.digest },
        sequenceLengthTokens: 1024,
        globalBatchTokens: 16_384,
        steps: 4,
        documentMasking: true,
      },
      objective: 'all-tokens',
      optimizer: stage?.optimizer,
      schedule: { peak: 1e-3, floor: 1e-4, warmupTokens: 0, totalTokens: 65_536 },
      seed: 42,
      checkpoints: stage?.checkpoints,
    }),
    attempts: [
      {
        epoch: 1,
        events: [stepEvent(1, 5), stepEvent(2, 4), stepEvent(3, 9)],
        outcome: outcomeSchema.parse({
          ...common,
          epoch: 1,
          startedAt: at(20),
          endedAt: at(50),
          step: 3,
          tokens: 49_152,
          result: 'ended',
          class: 'preempted',
          message: 'stopped by SIGTERM',
          exception: '',
          frames: [],
        }),
      },
      {
        epoch: 2,
        events: [stepEvent(3, 3.5), stepEvent(4, 3)],
        outcome: outcomeSchema.parse({
          ...common,
          epoch: 2,
          startedAt: at(50),
          endedAt: at(70),
          step: 4,
          tokens: 65_536,
          result: 'trained',
          commit,
          model: { url: `${url}/export/${commit.id}`, digest: digest('export') },
          weightsDigest: digest('weights'),
          firstLoss: 5,
          lastLoss: 3,
        }),
      },
    ],
  };
}

const manifest = datasetManifestSchema.parse({
  schema: 'longhaul.dataset/1',
  name: 'stage-1',
  sequenceLengthTokens: 1024,
  rows: 80,
  tokens: 80 * 1024,
  hasMask: false,
  tokenizerDigest: digest('tokenizer'),
  vocabularySize: 2048,
  seed: 42,
  domains: [{ name: 'books', rows: 80, documents: 80, passes: 0.1, untrainedDocuments: 0 }],
  sources: [],
  shards: [
    {
      file: 'shard.00000.mds',
      bytes: 1,
      sha256: digest('shard'),
      firstRow: 0,
      rows: 80,
      rowDomains: new Array<number>(80).fill(0),
      rowSumSquares: new Array<number>(80).fill(1024 * 512),
    },
  ],
});

const gathered: Gathered = {
  request: {
    run: 'r',
    runUrl: RUN_URL,
    recipe,
    recipeDigest: digestSchema.parse(recipeDigest(recipe)),
    status,
  },
  stages: [trainingStage()],
  datasets: [{ ref: { manifestUrl: ROWS.url, digest: ROWS.digest }, manifest }],
  notes: ['something is missing'],
  generatedAt: at(200),
  temporalUiUrl: null,
};

const data = assembleReport(gathered);

describe('models', () => {
  it('follow from the recipe: what each is, what it starts from, what it was trained on', () => {
    const facts = data.models.map(({ name, role, startsFrom }) => [name, role, startsFrom]);
    expect(facts).toContainEqual(['base', 'base', null]);
    expect(facts).toContainEqual(['base-at-stage-1-theta', 'theta-only', 'base']);
    expect(facts).toContainEqual(['stage-1', 'stage', 'base']);
    expect(facts).toContainEqual(['stage-2', 'stage', 'stage-1']);
    expect(facts).toContainEqual(['sft', 'sft', 'stage-2']);
    expect(data.models.find(({ name }) => name === 'stage-2')).toMatchObject({
      label: 'Stage 2',
      trainedLengthTokens: 4096,
      ropeTheta: recipe.stages['stage-2']?.ropeTheta,
    });
  });
});

describe('training curves', () => {
  it('take of a replayed step the last report, and mark where an attempt went on', () => {
    const [curve] = data.training;
    expect(curve?.points.map(({ step, loss }) => [step, loss])).toEqual([
      [1, 5],
      [2, 4],
      [3, 3.5],
      [4, 3],
    ]);
    expect(curve?.resumes).toEqual([{ epoch: 2, fromStep: 2 }]);
  });
});

describe('planned and actual', () => {
  it('stand side by side: tokens and steps from the outcome, time over all attempts', () => {
    const row = data.plan.find(({ stage }) => stage === folderOf('stage-1'));
    const planned = recipe.stages['stage-1']?.tokens ?? 0;
    expect(row?.steps).toEqual({
      planned: planned / (recipe.stages['stage-1']?.globalBatchTokens ?? 1),
      actual: 4,
    });
    expect(row?.tokens).toEqual({ planned, actual: 65_536 });
    expect(row?.seconds.actual).toBe(50);
  });

  it('count actual FLOPs as the plan does, with the lengths of the documents that were read', () => {
    const row = data.plan.find(({ stage }) => stage === folderOf('stage-1'));
    const planned = plan(recipe).stages.find(({ name }) => name === 'stage-1');
    const perToken = planned?.flopsPerToken.matmul ?? Number.NaN;
    const { layers, width } = recipe.base.architecture;
    expect(row?.flops.actual).toBeCloseTo(65_536 * (perToken + 6 * layers * width * 512), -3);
  });

  it('have gaps where a stage left nothing', () => {
    const row = data.plan.find(({ stage }) => stage === folderOf('sft'));
    expect([row?.steps.actual, row?.tokens.actual, row?.flops.actual, row?.seconds.actual]).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });
});

describe('the rest', () => {
  it('stages come from the workflow, attempts from the store', () => {
    expect(data.stages.map(({ name }) => name)).toEqual(steps.map(({ folder }) => folder));
    const stage = data.stages.find(({ name }) => name === folderOf('stage-1'));
    expect(stage?.attempts.map(({ result, class: failure }) => [result, failure])).toEqual([
      ['ended', 'preempted'],
      ['trained', null],
    ]);
  });

  it('artifacts carry their digests', () => {
    const digests = data.artifacts.map((artifact) => artifact.digest);
    for (const name of ['rows', 'config', 'manifest', 'export', 'weights']) {
      expect(digests).toContain(digest(name));
    }
  });

  it('datasets name their readers, bumps the stage they are for, fingerprints the stages that share them', () => {
    expect(data.datasets[0]?.usedBy).toEqual(['Stage 1, 1K']);
    expect(data.ropeBumps.map(({ label, fromTheta, toTheta }) => [label, fromTheta, toTheta])).toEqual([
      ['Stage 1, 1K', recipe.base.ropeTheta, recipe.stages['stage-1']?.ropeTheta],
      ['Stage 2, 4K', recipe.stages['stage-1']?.ropeTheta, recipe.stages['stage-2']?.ropeTheta],
    ]);
    expect(data.environments).toEqual([
      { stages: ['Stage 1, 1K'], fingerprint: { torch: '2.15.0', threads: 2 } },
    ]);
  });

  it('renders, gaps and all', () => {
    const html = renderReport(data);
    expect(html).toContain('something is missing');
    expect(html).not.toMatch(/NaN|undefined/);
  });
});
