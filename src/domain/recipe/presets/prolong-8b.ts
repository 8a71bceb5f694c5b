/**
 * `prolong-8b`: Table 9 of "How to Train Long-Context Language Models (Effectively)", to the digit. Where the table can be
 * read in two ways, or the published scripts differ from it, `PROLONG_8B_READINGS` says which reading this preset takes and which
 * overrides take the other one.
 */
import type { JsonObject } from '../../lib/json.js';
import { ADAMW, DEFAULT_EXECUTION, stageOneMix, stageTwoMix } from './defaults.js';
import type { RecipeSource } from '../schema.js';

const LENGTH_64K = 65_536;
const LENGTH_512K = 524_288;
const BATCH_4M = 64 * LENGTH_64K;
const BATCH_8M = 16 * LENGTH_512K;

/** Raw text as JSON Lines on the machines that curate. */
const source = (domain: string) => [
  { kind: 'jsonl' as const, files: [`/data/prolong/${domain}.jsonl.gz`], textField: 'text' },
];

/** Keeps every tenth of a stage, to look back at, beside the newest three. */
const checkpoints = { everySteps: 125, keepLast: 3, keepEvery: 500 };

const stages: RecipeSource['stages'] = {
  'stage-1': {
    from: 'base',
    objective: 'all-tokens',
    sequenceLengthTokens: LENGTH_64K,
    ropeTheta: 8e6,
    documentMasking: true,
    tokens: 5000 * BATCH_4M,
    globalBatchTokens: BATCH_4M,
    mix: stageOneMix(LENGTH_64K),
    moments: 'fresh',
    schedule: { peak: 1e-5, floor: 1e-6, warmupShare: 0.1 },
    optimizer: ADAMW,
    checkpoints,
  },
  'stage-2': {
    from: 'stage-1',
    objective: 'all-tokens',
    sequenceLengthTokens: LENGTH_512K,
    ropeTheta: 1.28e8,
    documentMasking: true,
    tokens: 2500 * BATCH_8M,
    globalBatchTokens: BATCH_8M,
    mix: stageTwoMix(LENGTH_512K, LENGTH_64K),
    moments: 'carry',
    schedule: { peak: 1e-5, floor: 1e-6, warmupShare: 0.1 },
    optimizer: ADAMW,
    checkpoints: { ...checkpoints, keepEvery: 250 },
  },
  sft: {
    from: 'stage-2',
    objective: 'masked-tokens',
    sequenceLengthTokens: LENGTH_64K,
    ropeTheta: 1.28e8,
    documentMasking: true,
    tokens: 250 * BATCH_4M,
    globalBatchTokens: BATCH_4M,
    mix: [{ domain: 'ultrachat', lengthTokens: null, share: 1 }],
    moments: 'fresh',
    schedule: { peak: 2e-5, floor: 2e-6, warmupShare: 0.05 },
    optimizer: ADAMW,
    checkpoints: { everySteps: 125, keepLast: 1, keepEvery: 0 },
  },
};

const recallLengths = [
  { lengthTokens: 32 * 1024, contexts: 20 },
  { lengthTokens: LENGTH_64K, contexts: 20 },
  { lengthTokens: 128 * 1024, contexts: 20 },
  { lengthTokens: LENGTH_512K, contexts: 5 },
];
/** HELMET's JSON KV depths. */
const depths = [0, 0.2, 0.4, 0.6, 0.8, 1];
const TASKS = ['kv-recall', 'needle', 'held-out-loss'];

/** The `prolong-8b` preset. */
export const PROLONG_8B = {
  preset: 'prolong-8b',
  name: 'prolong-8b',
  seed: 42,
  base: {
    model: { source: 's3', url: 's3://longhaul-models/Meta-Llama-3-8B-Instruct' },
    architecture: {
      layers: 32,
      width: 4096,
      feedForwardWidth: 14_336,
      heads: 32,
      keyValueHeads: 8,
      vocabularySize: 128_256,
      tiedEmbeddings: false,
    },
    ropeTheta: 5e5,
    lengthTokens: 8192,
  },
  tokenizer: { source: 'base', vocabularySize: 128_256 },
  data: {
    sources: {
      code: source('code'),
      books: source('books'),
      textbooks: source('textbooks'),
      'fineweb-edu': source('fineweb-edu'),
      fineweb: source('fineweb'),
      tuluv2: source('tuluv2'),
      stackexchange: source('stackexchange'),
      wikipedia: source('wikipedia'),
      openwebmath: source('openwebmath'),
      arxiv: source('arxiv'),
      ultrachat: [{ kind: 'chats', files: ['/data/prolong/ultrachat.jsonl.gz'] }],
    },
    heldOutShare: 0.001,
    maxBadShare: 0.001,
  },
  stages,
  tasks: {
    'kv-recall': { task: 'kv-recall', lengths: recallLengths, depths },
    needle: { task: 'needle', lengths: recallLengths, depths, domains: ['books'] },
    'held-out-loss': {
      task: 'held-out-loss',
      lengths: [{ lengthTokens: LENGTH_512K, rows: 16 }],
      domains: ['books', 'code'],
      bucketEdges: ['4K', '8K', '16K', '32K', '64K', '128K', '256K'],
    },
  },
  evaluations: {
    'base-evaluation': {
      targets: {
        base: { model: 'base' },
        'base-at-stage-1-theta': { model: 'base', ropeTheta: 8e6 },
        'base-at-stage-2-theta': { model: 'base', ropeTheta: 1.28e8 },
      },
      tasks: TASKS,
    },
    evaluation: {
      targets: { 'stage-1': { model: 'stage-1' }, 'stage-2': { model: 'stage-2' }, sft: { model: 'sft' } },
      tasks: TASKS,
    },
  },
  runtime: { device: 'cuda', precision: 'bfloat16', strict: false, threads: 8 },
  export: { weights: 'bfloat16' },
  execution: {
    ...DEFAULT_EXECUTION,
    graceSeconds: 120,
    leaseSeconds: 900,
    reuse: true,
    watchdog: {
      factor: 5,
      // Cold images, 96 GB of checkpoint, collectives that come up, contexts of 512K: minutes each, and tens on a bad day.
      floorSeconds: {
        import: 900,
        load: 3600,
        'first-step': 3600,
        step: 900,
        save: 1800,
        evaluate: 3600,
        export: 3600,
      },
    },
  },
  cost: {
    gpu: 'H100 SXM, bfloat16',
    peakTeraflops: 989,
    gpus: 64,
    // Table 9's H100 hours solved backwards, no measurement; of SFT the paper gives no hours, and stage 1's stands in.
    mfu: 0.211,
    stageMfu: { 'stage-1': 0.211, 'stage-2': 0.078, sft: 0.211 },
    pricePerGpuHour: 2.5,
    packedDocumentTokens: 4096,
    // Eight nodes of a spot fleet, each gone once a day; 250 MB/s to the store from each.
    interruptions: { meanHoursBetween: 3, relaunchSeconds: 600, saveBytesPerSecond: 2e9, stallSeconds: 5 },
  },
} satisfies RecipeSource;

/** A place where Table 9 leaves a choice, and what the preset does there. */
export interface Reading {
  /** What is open. */
  readonly question: string;
  /** What the preset takes, and why. */
  readonly taken: string;
  /** The other reading or readings. */
  readonly otherwise: string;
  /** Overrides that take the other reading; undefined where there is nothing to set. */
  readonly overrides: JsonObject | undefined;
}

/** Every ambiguity of Table 9 that touches this preset. `longhaul plan` prints them. */
export const PROLONG_8B_READINGS: readonly Reading[] = [
  {
    question: 'Peak learning rate of stage 2',
    taken: '1e-5 in both stages, as Table 9 says',
    otherwise:
      '5e-6, as the published stage-2 script says since a commit named "fix default LR"; which one made the released weights is not known',
    overrides: { stages: { 'stage-2': { schedule: { peak: 5e-6 } } } },
  },
  {
    question: 'What "20B tokens" is',
    taken:
      '5,000 steps of 4 Mi and 2,500 of 8 Mi tokens, 20.97e9 each, as the scripts run; every share of the mix is then a whole number of rows',
    otherwise:
      'decimal, to the nearest step: 4,768 and 2,384 steps (19.998e9); binary, 20 × 2^30: 5,120 and 2,560 steps (21.47e9), shown here',
    overrides: {
      stages: {
        'stage-1': { tokens: { billions: 20, unit: 'binary' } },
        'stage-2': { tokens: { billions: 20, unit: 'binary' } },
      },
    },
  },
  {
    question: 'What "1B tokens" of SFT is',
    taken: '250 steps of 4 Mi tokens, 1.05e9, as the script runs',
    otherwise: 'binary, 2^30: 256 steps',
    overrides: { stages: { sft: { tokens: { billions: 1, unit: 'binary' } } } },
  },
  {
    question: 'What "4M" and "8M" tokens per batch are',
    taken: 'binary, 64 × 64K and 16 × 512K: a decimal batch is no whole number of sequences',
    otherwise: 'none that divides into rows',
    overrides: undefined,
  },
  {
    question: 'ShortMix, of which the slides hold two tables',
    taken:
      'Table 9: 27 / 27 / 11 / 11 / 8 / 8 / 8 % FineWeb-Edu, FineWeb, Tulu-v2, StackExchange, Wikipedia, OpenWebMath, ArXiv, in whole percents of all rows (10 / 10 / 4 / 4 / 3 / 3 / 3); the scripts give Wikipedia 4 and Tulu-v2 3',
    otherwise:
      'the "short context source" slide, 25 / 25 / 10 × 5 %: the mix of the ablation, which had 40 % short data and no textbooks',
    overrides: { stages: { 'stage-1': { mix: ablationMix(LENGTH_64K) } } },
  },
  {
    question: 'RoPE bases, which the slides\' summary rounds to "from 10^6 to 10^8"',
    taken: 'Table 9: 5e5 (Llama-3) to 8e6 to 1.28e8',
    otherwise:
      'none: "10^6" is the order of magnitude of 8e6; the paper\'s prose names 1e5 for the original, which does not fit Llama-3',
    overrides: undefined,
  },
  {
    question: 'Textbooks, which Table 9 counts to the long data',
    taken:
      'pieces of the row’s length in both stages, as its "length curriculum" says; shorter ones are dropped',
    otherwise:
      'of any length, packed end to end as short data, as the scripts list them: their folder has no length, those of code and books do',
    overrides: {
      stages: {
        'stage-1': { mix: withPacked('textbooks', stageOneMix(LENGTH_64K)) },
        'stage-2': { mix: withPacked('textbooks', stageTwoMix(LENGTH_512K, LENGTH_64K)) },
      },
    },
  },
  {
    question: 'Weight decay of 0.1, of which parameters',
    taken: 'of matrices; the weights of norms are not decayed, as is usual',
    otherwise:
      'of norms too: the scripts leave out Hugging Face’s own norm layers, and their model has one of its own that is not among them',
    overrides: everyStage({ optimizer: { decayNorms: true } }),
  },
  {
    question: 'Where the schedule starts',
    taken:
      'a step’s rate is that of the tokens consumed with it: the first step of stage 1 has a 500th of the peak, the last one the floor; the warm-up of SFT ends within its 13th step, at 5 % of the tokens (12.5 steps)',
    otherwise:
      'one step earlier, as Hugging Face’s schedules count: the first step’s rate is 0 and changes nothing but the moments; the warm-up is rounded up to whole steps, 13 in SFT (a share of 0.052)',
    overrides: {
      stages: {
        'stage-1': { schedule: { rateAt: 'step-start' } },
        'stage-2': { schedule: { rateAt: 'step-start' } },
        sft: { schedule: { rateAt: 'step-start', warmupShare: 0.052 } },
      },
    },
  },
  {
    question: 'What the loss of the two long stages is the mean of',
    taken: 'the trained tokens of the global batch, each counting alike',
    otherwise:
      'the micro-batches, of each one’s mean, as the scripts do: a micro-batch is a row on a device, so each row counts alike however many of its tokens are trained on (in stage 2, where eight devices share a row, each eighth of it)',
    overrides: { stages: { 'stage-1': { lossMean: 'rows' }, 'stage-2': { lossMean: 'rows' } } },
  },
  {
    question: 'What the loss of SFT is the mean of',
    taken: 'the trained tokens of the global batch, as the paper says (A.3)',
    otherwise:
      'the sum over the trained tokens divided by a running average of their number, as the script does: here per row and from the stage’s start, kept in checkpoints; the script’s is per device and starts anew with each process',
    overrides: { stages: { sft: { lossMean: 'running-average' } } },
  },
  {
    question: 'How fast training runs (MFU), not reported',
    taken:
      '21.1 and 7.8 %, which are Table 9’s 2,200 and 12,200 H100 hours solved backwards: this plan’s hours agree with the paper’s by construction; of SFT the paper gives no hours, and stage 1’s MFU is taken without a source',
    otherwise: 'what your own devices reach, as `cost.stageMfu`; 40 % is shown here',
    overrides: { cost: { stageMfu: { 'stage-1': 0.4, 'stage-2': 0.4, sft: 0.4 } } },
  },
  {
    question: 'Two lengths of one domain, as code and books have in stage 2',
    taken:
      'longest first, as ProLong’s tool cuts: stretches of 512K stay whole while the rows want them, and 64K gets what is left of documents and what is too short for 512K',
    otherwise: 'every stretch of 512K goes to one of the lengths by hash, in proportion to their shares',
    overrides: { data: { cut: 'by-share' } },
  },
  {
    question: 'GPUs of the final runs, not reported',
    taken: '64 (cost.gpus), which sets the wall time in this plan and nothing else',
    otherwise: 'any number',
    overrides: { cost: { gpus: 8 } },
  },
];

/** A mix in which one domain's documents are packed, of whatever length. */
function withPacked(domain: string, mix: ReturnType<typeof stageTwoMix>) {
  return mix.map((part) => (part.domain === domain ? { ...part, lengthTokens: null } : part));
}

/** The same overrides for every stage. */
function everyStage(overrides: JsonObject): JsonObject {
  return { stages: Object.fromEntries(Object.keys(stages).map((name) => [name, overrides])) };
}

/** The mix of the paper's ablations: books and code 1 : 1 at 60 %, the other ShortMix table at 40 %. */
function ablationMix(lengthTokens: number) {
  const short = (domain: string, share: number) => ({ domain, lengthTokens: null, share });
  return [
    { domain: 'code', lengthTokens, share: 0.3 },
    { domain: 'books', lengthTokens, share: 0.3 },
    short('fineweb', 0.1),
    short('fineweb-edu', 0.1),
    ...['wikipedia', 'tuluv2', 'stackexchange', 'arxiv', 'openwebmath'].map((domain) => short(domain, 0.04)),
  ];
}
