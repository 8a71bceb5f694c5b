/** A finished run of the tiny preset as the report sees it, made up but consistent. */
import { digestSchema } from '../../../src/contracts/index.js';
import type { EvaluationRecord, EvaluationResults } from '../../../src/contracts/index.js';
import { sha256OfText } from '../../../src/domain/lib/digest.js';
import { randomStream } from '../../../src/report/data/statistics.js';
import { reportDataSchema } from '../../../src/report/data/report-data.js';
import type { ReportData, ReportModel, TrainingCurve } from '../../../src/report/data/report-data.js';
import { scoreTables } from '../../../src/report/data/scores.js';

const RUN_URL = 's3://longhaul/runs/tiny-2026-11-24';
const DEPTHS = [0, 0.25, 0.5, 0.75, 1];
const EDGES = [0, 64, 128, 256, 512, 1024, 2048, 4096];

const digest = (text: string) => digestSchema.parse(sha256OfText(text));
const at = (seconds: number) => new Date(Date.UTC(2026, 10, 24, 5, 34, 10) + seconds * 1000).toISOString();

function model(
  name: string,
  label: string,
  role: ReportModel['role'],
  startsFrom: string | null,
  length: number,
  theta: number,
): ReportModel {
  return {
    name,
    label,
    role,
    startsFrom,
    trainedLengthTokens: length,
    ropeTheta: theta,
    model: { url: `${RUN_URL}/stages/${name}/export/x`, digest: digest(name) },
  };
}

/** The models of the sample. */
export const MODELS: readonly ReportModel[] = [
  model('base', 'Base', 'base', null, 256, 1e3),
  model('base-at-stage-1-theta', 'Base, theta set to 8,000', 'theta-only', 'base', 256, 8e3),
  model('stage-1', 'Stage 1', 'stage', 'base', 1024, 8e3),
  model('stage-2', 'Stage 2', 'stage', 'stage-1', 4096, 6.4e4),
  model('sft', 'SFT', 'sft', 'stage-2', 4096, 6.4e4),
];

/** True recall by model and length, from which samples are drawn. */
const RECALL: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  base: { 256: 0.91, 1024: 0.04, 4096: 0.01 },
  'base-at-stage-1-theta': { 256: 0.05, 1024: 0.02, 4096: 0.01 },
  'stage-1': { 256: 0.9, 1024: 0.6, 4096: 0.07 },
  'stage-2': { 256: 0.88, 1024: 0.63, 4096: 0.34 },
  sft: { 256: 0.86, 1024: 0.6, 4096: 0.31 },
};

function recallRecords(
  target: string,
  task: 'kv-recall' | 'needle',
  lengthTokens: number,
): EvaluationRecord[] {
  const random = randomStream(`${target} ${task} ${lengthTokens}`);
  const share = (RECALL[target]?.[lengthTokens] ?? 0) * (task === 'needle' ? 0.7 : 1);
  const contexts = lengthTokens > 2000 ? 8 : 12;
  return Array.from({ length: contexts * DEPTHS.length }, (_, index) => {
    const [context, place] = [Math.floor(index / DEPTHS.length), index % DEPTHS.length];
    const exactMatch = random() < share;
    const sample = `${task}-${lengthTokens}-s42-c${context}-d${place}`;
    return {
      schema: 'longhaul.record/1' as const,
      key: sha256OfText(target + task).slice(7, 23),
      sample,
      target,
      lengthTokens,
      finishedAt: at(200),
      task,
      depth: DEPTHS[place] ?? 0,
      promptTokens: lengthTokens - 8,
      promptDigest: digest(sample),
      expected: '42',
      output: exactMatch ? '42' : '17',
      exactMatch,
      answerLogProbability: (exactMatch ? -0.3 : -4.2) - random(),
      answerTokens: 2,
    };
  });
}

function lossRecords(target: string, bend: number): EvaluationRecord[] {
  const random = randomStream(`loss ${target}`);
  return Array.from({ length: 8 }, (_, row) => ({
    schema: 'longhaul.record/1' as const,
    key: sha256OfText(`${target}loss`).slice(7, 23),
    sample: `held-out-loss-4096-r${row}`,
    target,
    lengthTokens: 4096,
    finishedAt: at(210),
    task: 'held-out-loss' as const,
    buckets: EDGES.slice(1).map((to, index) => {
      const from = EDGES[index] ?? 0;
      const tokens = to - Math.max(from, 1);
      const past = Math.max(0, Math.log2(to / bend));
      const loss = 4.4 - 0.11 * Math.log2(to) + 0.55 * past + 0.1 * Math.sin(row) + 0.05 * random();
      return { from, to, tokens, lossSum: loss * tokens };
    }),
  }));
}

const BENDS: readonly (readonly [string, number])[] = [
  ['base', 256],
  ['base-at-stage-1-theta', 700],
  ['stage-1', 1400],
  ['stage-2', 8000],
  ['sft', 6000],
];

/** Results of the sample's two evaluations. */
export const RESULTS: readonly EvaluationResults[] = [BENDS.slice(0, 2), BENDS.slice(2)].map((targets) => ({
  schema: 'longhaul.results/1',
  targets: targets.map(([name]) => ({
    name,
    modelDigest: digest(name),
    ropeTheta: MODELS.find((one) => one.name === name)?.ropeTheta ?? 1,
  })),
  records: targets.flatMap(([name, bend]) => [
    ...[256, 1024, 4096].flatMap((length) => [
      ...recallRecords(name, 'kv-recall', length),
      ...recallRecords(name, 'needle', length),
    ]),
    ...lossRecords(name, bend),
  ]),
}));

function curve(
  stage: string,
  label: string,
  steps: number,
  batch: number,
  from: number,
  to: number,
): TrainingCurve {
  const random = randomStream(stage);
  const points = Array.from({ length: steps }, (_, index) => {
    const done = (index + 1) / steps;
    const warm = Math.min(1, done / 0.1);
    return {
      step: index + 1,
      tokens: (index + 1) * batch,
      loss: to + (from - to) * Math.exp(-4 * done) + 0.08 * (random() - 0.5),
      learningRate: warm * (1e-4 + 9e-4 * 0.5 * (1 + Math.cos(Math.PI * Math.max(0, (done - 0.1) / 0.9)))),
      gradientNorm: 1 + random(),
      seconds: batch / 15_000,
    };
  });
  return { stage, label, points, resumes: stage === '06-stage-2' ? [{ epoch: 2, fromStep: 10 }] : [] };
}

const SECONDS = { import: 0, load: 0, firstStep: 0, step: 0, save: 0, evaluate: 0, export: 0 };
type Stage = ReportData['stages'][number];

function job(epoch: number, result: 'trained' | 'evaluated', from: number, to: number, step: number) {
  const inside = to - from - 6;
  const seconds =
    result === 'trained'
      ? { ...SECONDS, import: 5, load: 0.6, firstStep: 1.4, step: inside - 2, save: 0.9, export: 0.4 }
      : { ...SECONDS, import: 5, load: 0.7, evaluate: inside };
  return {
    epoch,
    result,
    class: null,
    message: '',
    startedAt: at(from),
    endedAt: at(to),
    step,
    seconds,
  };
}

function stage(
  name: string,
  label: string,
  kind: Stage['kind'],
  from: number,
  to: number,
  attempts: Stage['attempts'] = [],
): Stage {
  return {
    name,
    label,
    kind,
    state: 'done',
    startedAt: at(from),
    endedAt: at(to),
    attempts,
    note: kind === 'curation' ? '9 datasets' : '',
  };
}

const PREEMPTED = {
  epoch: 1,
  result: 'ended' as const,
  class: 'preempted' as const,
  message: 'stopped by SIGTERM',
  startedAt: at(132),
  endedAt: at(158),
  step: 11,
  seconds: { ...SECONDS, import: 5.1, load: 0.5, firstStep: 2.3, step: 17, save: 0.8 },
};

const FILES = { file: 'poems/broken.txt', problem: 'not valid UTF-8 at byte 4,113' };

/** The sample. */
export const SAMPLE: ReportData = reportDataSchema.parse({
  schema: 'longhaul.report/1',
  generatedAt: at(268),
  run: {
    name: 'tiny-2026-11-24',
    url: RUN_URL,
    workflowId: 'tiny-2026-11-24',
    startedAt: at(0),
    temporalUiUrl: 'http://localhost:8233/namespaces/default/workflows/tiny-2026-11-24',
  },
  recipe: {
    preset: 'tiny',
    digest: digest('recipe'),
    resolved: { preset: 'tiny', seed: 42, stages: { 'stage-1': { ropeTheta: 8000, tokens: 819_200 } } },
  },
  models: MODELS,
  scores: scoreTables(RESULTS, MODELS),
  training: [
    curve('04-stage-1', 'Stage 1, 1K', 50, 16_384, 5.1, 3.6),
    curve('06-stage-2', 'Stage 2, 4K', 25, 32_768, 3.9, 3.4),
    curve('07-sft', 'SFT, 1K', 10, 16_384, 4.2, 3.1),
  ],
  stages: [
    stage('01-curation', 'Curation', 'curation', 0, 14),
    stage('02-base-evaluation', 'Base evaluation', 'evaluation', 14, 44, [
      job(1, 'evaluated', 14.2, 43.8, 0),
    ]),
    stage('03-rope-stage-1', 'RoPE base 1e3 to 8e3', 'rope-bump', 44, 44.1),
    stage('04-stage-1', 'Stage 1, 1K', 'training', 44.1, 131, [job(1, 'trained', 44.3, 130.8, 50)]),
    stage('05-rope-stage-2', 'RoPE base 8e3 to 6.4e4', 'rope-bump', 131, 131.1),
    stage('06-stage-2', 'Stage 2, 4K', 'training', 131.1, 212, [
      PREEMPTED,
      job(2, 'trained', 158.3, 211.8, 25),
    ]),
    stage('07-sft', 'SFT, 1K', 'sft', 212, 232, [job(1, 'trained', 212.2, 231.8, 10)]),
    stage('08-evaluation', 'Evaluation', 'evaluation', 232, 267, [job(1, 'evaluated', 232.2, 266.8, 0)]),
    { ...stage('09-report', 'Report', 'report', 267, 268), state: 'running', endedAt: null },
  ],
  plan: [
    planRow('04-stage-1', 'Stage 1, 1K', 50, 819_200, 5.1e12, 70, 86.5),
    planRow('06-stage-2', 'Stage 2, 4K', 25, 819_200, 6.9e12, 80, 79.5),
    planRow('07-sft', 'SFT, 1K', 10, 163_840, 1e12, 14, 19.6),
  ],
  ropeBumps: [
    { stage: '03-rope-stage-1', label: 'Stage 1, 1K', ...bump(1e3, 8e3, 4385, 256, 1024) },
    { stage: '05-rope-stage-2', label: 'Stage 2, 4K', ...bump(8e3, 6.4e4, 35_085, 1024, 4096) },
  ],
  datasets: [
    {
      name: 'stage-1',
      usedBy: ['Stage 1, 1K'],
      sequenceLengthTokens: 1024,
      rows: 800,
      tokens: 819_200,
      domains: [
        { name: 'code', rows: 240, documents: 240, passes: 0.4, untrainedDocuments: 0 },
        { name: 'books', rows: 240, documents: 240, passes: 0.7, untrainedDocuments: 0 },
        { name: 'textbooks', rows: 24, documents: 24, passes: 0.2, untrainedDocuments: 0 },
        { name: 'fineweb-edu', rows: 80, documents: 311, passes: 1.3, untrainedDocuments: 0 },
        { name: 'fineweb', rows: 216, documents: 902, passes: 0.9, untrainedDocuments: 0 },
      ],
      sources: [
        {
          source: 'data/books',
          files: 41,
          documents: 40,
          tokens: 2_113_220,
          heldOutDocuments: 3,
          badFiles: [{ path: FILES.file, problem: FILES.problem }],
        },
        {
          source: 'node_modules',
          files: 3120,
          documents: 212,
          tokens: 3_902_100,
          heldOutDocuments: 11,
          badFiles: [],
        },
      ],
    },
  ],
  artifacts: [
    artifact('Base model', 's3://longhaul/models/base-tiny.0123456789ab', 'manifest.json'),
    artifact(
      'Stage 1, 1K: final checkpoint',
      `${RUN_URL}/stages/04-stage-1/checkpoints/00000050-0001-0a1b2c3d`,
      'manifest.json',
    ),
    artifact(
      'Stage 2, 4K: model',
      `${RUN_URL}/stages/06-stage-2/export/00000025-0002-99aabbcc`,
      'manifest.json',
    ),
    artifact('SFT, 1K: model', `${RUN_URL}/stages/07-sft/export/00000010-0001-5e6f7a8b`, 'manifest.json'),
    artifact('Evaluation: results', `${RUN_URL}/stages/08-evaluation/results.json`, 'results.json'),
  ],
  environments: [
    {
      stages: ['Base evaluation', 'Stage 1, 1K', 'Stage 2, 4K', 'SFT, 1K', 'Evaluation'],
      fingerprint: {
        torch: '2.15.0',
        transformers: '5.23.0',
        device: 'cpu',
        threads: 2,
        strict: true,
        worldSize: 1,
      },
    },
  ],
  notes: [],
});

function planRow(
  name: string,
  label: string,
  steps: number,
  tokens: number,
  flops: number,
  planned: number,
  actual: number,
) {
  return {
    stage: name,
    label,
    steps: { planned: steps, actual: steps },
    tokens: { planned: tokens, actual: tokens },
    seconds: { planned, actual },
    flops: { planned: flops, actual: flops * 0.97 },
  };
}

function bump(fromTheta: number, toTheta: number, suggestedTheta: number, from: number, to: number) {
  return { fromTheta, toTheta, suggestedTheta, fromLengthTokens: from, toLengthTokens: to };
}

function artifact(what: string, url: string, of: string) {
  return { what, url, digest: digest(url), of };
}

/** A run of which nothing is known but its name: stopped before anything ran. */
export const EMPTY: ReportData = reportDataSchema.parse({
  schema: 'longhaul.report/1',
  generatedAt: at(1),
  run: {
    name: 'empty',
    url: 's3://longhaul/runs/empty',
    workflowId: null,
    startedAt: null,
    temporalUiUrl: null,
  },
  recipe: { preset: null, digest: null, resolved: null },
  models: [],
  scores: { confidence: 0.95, recall: [], loss: [], comparisons: [] },
  training: [],
  stages: [],
  plan: [],
  ropeBumps: [],
  datasets: [],
  artifacts: [],
  environments: [],
  notes: [],
});
