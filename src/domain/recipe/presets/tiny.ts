/**
 * `tiny`: the stages and shares of Table 9, scaled down to run in minutes on two CPU cores from the small base model that
 * ships with the project. Every share is a whole number of rows: 800 rows in stage 1, 200 in stage 2, 160 in SFT. Batches are
 * small, half as large in stage 1 as in stage 2 as in Table 9: twice the steps cost no more tokens, and a model this small
 * learns from steps.
 */
import { ADAMW, DEFAULT_EXECUTION, stageOneMix, stageTwoMix } from './defaults.js';
import type { RecipeSource } from '../schema.js';
import { TINY_SOURCES } from './tiny-sources.js';

const STAGE_1_TOKENS = 1024;
const STAGE_2_TOKENS = 4096;
const STAGE_1_THETA = 8e4;
const STAGE_2_THETA = 6.4e5;

const stages: RecipeSource['stages'] = {
  'stage-1': {
    from: 'base',
    objective: 'all-tokens',
    sequenceLengthTokens: STAGE_1_TOKENS,
    ropeTheta: STAGE_1_THETA,
    documentMasking: true,
    tokens: 100 * 8_192,
    globalBatchTokens: 8_192,
    mix: stageOneMix(STAGE_1_TOKENS),
    moments: 'fresh',
    schedule: { peak: 1e-3, floor: 1e-4, warmupShare: 0.1 },
    optimizer: ADAMW,
    checkpoints: { everySteps: 20, keepLast: 2, keepEvery: 0 },
  },
  'stage-2': {
    from: 'stage-1',
    objective: 'all-tokens',
    sequenceLengthTokens: STAGE_2_TOKENS,
    ropeTheta: STAGE_2_THETA,
    documentMasking: true,
    tokens: 50 * 16_384,
    globalBatchTokens: 16_384,
    mix: stageTwoMix(STAGE_2_TOKENS, STAGE_1_TOKENS),
    moments: 'carry',
    schedule: { peak: 1e-3, floor: 1e-4, warmupShare: 0.1 },
    optimizer: ADAMW,
    checkpoints: { everySteps: 10, keepLast: 2, keepEvery: 0 },
  },
  sft: {
    from: 'stage-2',
    objective: 'masked-tokens',
    sequenceLengthTokens: STAGE_1_TOKENS,
    ropeTheta: STAGE_2_THETA,
    documentMasking: true,
    tokens: 20 * 8_192,
    globalBatchTokens: 8_192,
    mix: [{ domain: 'ultrachat', lengthTokens: null, share: 1 }],
    moments: 'fresh',
    schedule: { peak: 5e-4, floor: 5e-5, warmupShare: 0.05 },
    optimizer: ADAMW,
    checkpoints: { everySteps: 10, keepLast: 2, keepEvery: 0 },
  },
};

/** Verdicts resample contexts: below six, no difference can be told from noise (docs/evaluation.md). */
const pairLengths = [
  { lengthTokens: 256, contexts: 8 },
  { lengthTokens: STAGE_1_TOKENS, contexts: 8 },
  { lengthTokens: STAGE_2_TOKENS, contexts: 8 },
];
const needleLengths = [
  { lengthTokens: 256, contexts: 6 },
  { lengthTokens: STAGE_1_TOKENS, contexts: 6 },
  { lengthTokens: STAGE_2_TOKENS, contexts: 6 },
];
const depths = [0, 0.25, 0.5, 0.75, 1];
const TASKS = ['kv-recall', 'needle', 'held-out-loss'];

/** The `tiny` preset. */
export const TINY = {
  preset: 'tiny',
  name: 'tiny',
  seed: 42,
  base: {
    model: { source: 'bundled', name: 'base-tiny' },
    architecture: {
      layers: 4,
      width: 128,
      feedForwardWidth: 384,
      heads: 4,
      keyValueHeads: 2,
      vocabularySize: 2048,
      tiedEmbeddings: true,
    },
    ropeTheta: 1e4,
    lengthTokens: 256,
  },
  tokenizer: { source: 'base', vocabularySize: 2048 },
  data: {
    sources: TINY_SOURCES,
    heldOutShare: 0.05,
    maxBadShare: 0.05,
  },
  stages,
  tasks: {
    'kv-recall': { task: 'kv-recall', lengths: pairLengths, depths },
    needle: { task: 'needle', lengths: needleLengths, depths, domains: ['books'] },
    'held-out-loss': {
      task: 'held-out-loss',
      lengths: [{ lengthTokens: STAGE_2_TOKENS, rows: 6 }],
      domains: ['books', 'code'],
      bucketEdges: [64, 128, 256, 512, 1024, 2048],
    },
  },
  evaluations: {
    'base-evaluation': {
      targets: {
        base: { model: 'base' },
        'base-at-stage-1-theta': { model: 'base', ropeTheta: STAGE_1_THETA },
        'base-at-stage-2-theta': { model: 'base', ropeTheta: STAGE_2_THETA },
      },
      tasks: TASKS,
    },
    evaluation: {
      targets: { 'stage-1': { model: 'stage-1' }, 'stage-2': { model: 'stage-2' }, sft: { model: 'sft' } },
      tasks: TASKS,
    },
  },
  runtime: { device: 'cpu', precision: 'bfloat16', strict: true, threads: 2 },
  execution: {
    ...DEFAULT_EXECUTION,
    graceSeconds: 10,
    leaseSeconds: 60,
    reuse: false,
    watchdog: {
      factor: 5,
      // A laptop that is busy otherwise is slow, and not hung.
      floorSeconds: {
        import: 120,
        load: 120,
        'first-step': 120,
        step: 60,
        save: 120,
        evaluate: 120,
        export: 120,
      },
    },
  },
  cost: {
    gpu: 'two CPU cores',
    // About 0.1 TFLOP/s come out of two idle cores, in training and in evaluation alike.
    peakTeraflops: 0.2,
    gpus: 1,
    mfu: 0.5,
    stageMfu: {},
    pricePerGpuHour: 0,
    packedDocumentTokens: 256,
    // Measured on a busy machine; preemptions as often as a demonstration needs them.
    interruptions: { meanHoursBetween: 0.05, relaunchSeconds: 8, saveBytesPerSecond: 5e6, stallSeconds: 0.1 },
  },
} satisfies RecipeSource;

const fewSamples = [
  { lengthTokens: 256, contexts: 2 },
  { lengthTokens: STAGE_1_TOKENS, contexts: 1 },
];

/** `tiny` in seconds: overrides for tests and for a first look. Same steps of the walk, hardly any work in them. */
export const TINY_SMOKE = {
  preset: 'tiny',
  name: 'tiny-smoke',
  stages: {
    'stage-1': { steps: 2, checkpoints: { everySteps: 1 } },
    'stage-2': { steps: 2, globalBatchTokens: 16_384, checkpoints: { everySteps: 1 } },
    sft: { steps: 1 },
  },
  tasks: {
    'kv-recall': { lengths: fewSamples, depths: [0, 1] },
    needle: { lengths: fewSamples, depths: [0, 1] },
    'held-out-loss': { lengths: [{ lengthTokens: STAGE_1_TOKENS, rows: 2 }], bucketEdges: [256, 512] },
  },
} as const;
