/**
 * `spec.json` of a stage: all a training container needs to know. The job gets the spec's URL and its epoch through
 * the environment (`LONGHAUL_SPEC_URL`, `LONGHAUL_EPOCH`, `LONGHAUL_GRACE_SECONDS`, `LONGHAUL_S3_ENDPOINT`, and the
 * usual `AWS_*` credentials) and answers only through the object store.
 */
import { z } from 'zod';
import {
  checkpointRefSchema,
  datasetRefSchema,
  digestSchema,
  modelRefSchema,
  objectUrlSchema,
} from './common.js';

const jobBase = {
  schema: z.literal('longhaul.job-spec/1'),
  run: z.string().min(1).describe('Run name: the last component of the run prefix'),
  stage: z.string().min(1).describe('Stage folder, <nn-name>'),
  stageUrl: objectUrlSchema.describe(
    'Prefix of the stage: HEAD, checkpoints/, attempts/ and records/ lie below it',
  ),
  recipeDigest: digestSchema.describe(
    'Digest of the resolved recipe; a checkpoint of another recipe is refused',
  ),
  runtime: z
    .strictObject({
      device: z.enum(['cpu', 'cuda']),
      precision: z
        .enum(['float32', 'bfloat16'])
        .describe('Compute type; master weights and moments stay float32'),
      strict: z
        .boolean()
        .describe('Deterministic kernels, so that resumed attempts end in bit-identical weights'),
      threads: z.int().positive().describe('CPU threads per rank; part of the numerics fingerprint'),
    })
    .describe('What decides the numerics'),
  events: z.strictObject({
    flushSeconds: z.number().positive().max(3600).describe('Longest time between two event files, seconds'),
    flushBytes: z.int().positive().describe('Largest event file, bytes'),
  }),
};

/** How a training stage gets its first weights and Adam moments. */
export const initializeSchema = z.discriminatedUnion('from', [
  z.strictObject({
    from: z.literal('model'),
    model: modelRefSchema.describe('Weights from a Hugging Face folder; Adam moments are fresh'),
  }),
  z.strictObject({
    from: z.literal('checkpoint'),
    checkpoint: checkpointRefSchema,
    moments: z.enum(['carry', 'fresh']).describe('carry: Adam moments and step count too (ProLong stage 2)'),
  }),
]);

/** A training job: continued training or SFT. */
export const trainSpecSchema = z.strictObject({
  ...jobBase,
  kind: z.literal('train'),
  initialize: initializeSchema,
  config: z
    .strictObject({ url: objectUrlSchema, digest: digestSchema })
    .describe('The config.json to train with (RoPE base and max_position_embeddings already set)'),
  tokenizer: modelRefSchema.describe(
    'Folder with tokenizer.json and tokenizer_config.json, taken over into the export with the chat template and the stops of generation_config.json',
  ),
  data: z.strictObject({
    dataset: datasetRefSchema,
    sequenceLengthTokens: z.int().positive().describe('Tokens per row'),
    globalBatchTokens: z.int().positive().describe('Tokens per optimizer step; a whole number of rows'),
    steps: z
      .int()
      .positive()
      .describe('Optimizer steps; row i of the dataset is sample i, so steps × rows ≤ dataset rows'),
    documentMasking: z.boolean().describe('Documents of one row do not attend to each other'),
  }),
  objective: z
    .enum(['all-tokens', 'masked-tokens'])
    .describe('masked-tokens: loss only where the mask column is 1 (assistant tokens in SFT)'),
  lossMean: z
    .enum(['tokens', 'rows', 'running-average'])
    .optional()
    .describe(
      'tokens (absent): mean over the step’s valid tokens. rows: mean over its rows of each row’s mean. running-average: sum over its valid tokens, by its rows times the mean of valid tokens per row over the stage so far, this step included',
    ),
  optimizer: z.strictObject({
    beta1: z.number().min(0).lt(1),
    beta2: z.number().min(0).lt(1),
    epsilon: z.number().positive(),
    weightDecay: z
      .number()
      .nonnegative()
      .describe('Decoupled; not applied to vectors, but to norms if decayNorms says so'),
    decayNorms: z.boolean().optional().describe('The weights of norms are decayed too; absent: they are not'),
    clipNorm: z.number().positive().describe('Global gradient norm is clipped to this'),
  }),
  schedule: z.strictObject({
    peak: z.number().positive().describe('Learning rate at the end of warm-up'),
    floor: z.number().nonnegative().describe('Learning rate at the end of the cosine'),
    warmupTokens: z.int().nonnegative(),
    totalTokens: z.int().positive(),
    rateAt: z
      .enum(['step-end', 'step-start'])
      .optional()
      .describe('A step’s rate is that of the tokens consumed with it (absent, step-end) or before it'),
  }),
  seed: z.int().nonnegative(),
  checkpoints: z.strictObject({
    everySteps: z
      .union([z.int().positive(), z.literal('auto')])
      .describe(
        'A checkpoint every so many steps, and one after the last; auto: as often as measured costs and measured interruptions make best (Young/Daly)',
      ),
    keepLast: z.int().positive().describe('The newest k are kept'),
    keepEvery: z.int().nonnegative().describe('Every n-th step is kept too; 0: none'),
  }),
  numerics: z
    .strictObject({
      spikeFactor: z
        .number()
        .gt(1)
        .describe('A step whose loss exceeds so many times the median of the steps before it is a spike'),
      spikeWindowSteps: z.int().positive().describe('How many steps before it the median is taken over'),
    })
    .optional()
    .describe('When a loss counts as a spike, which ends the attempt before the update; absent: never'),
  export: z
    .strictObject({
      weights: z.enum(['float32', 'bfloat16']).describe('Element type that the weights are saved in'),
    })
    .optional()
    .describe('How the trained model is published; absent: as float32'),
});
export type TrainSpec = z.infer<typeof trainSpecSchema>;

const recallTask = {
  lengthTokens: z.int().positive().describe('Prompt and answer fit in this many tokens'),
  depths: z.array(z.number().min(0).max(1)).min(1).describe('Where the answer lies: 0 the start, 1 the end'),
  contexts: z.int().positive().describe('Contexts made per length; each is asked once per depth'),
  seed: z.int().nonnegative(),
};

/** One task of an evaluation at one length. */
export const evaluationTaskSchema = z.discriminatedUnion('task', [
  z
    .strictObject({ task: z.literal('kv-recall'), ...recallTask })
    .describe('JSON key-value recall: one key of a long object is asked for'),
  z
    .strictObject({ task: z.literal('needle'), ...recallTask, haystack: datasetRefSchema })
    .describe('A fact hidden in held-out text is asked for'),
  z
    .strictObject({
      task: z.literal('held-out-loss'),
      lengthTokens: z.int().positive().describe('Row length of the dataset'),
      dataset: datasetRefSchema,
      rows: z.int().positive().describe('The first so many rows'),
      bucketEdges: z
        .array(z.int().positive())
        .min(1)
        .describe('Ascending position limits: loss is summed over [0,e1), [e1,e2), … up to the row length'),
    })
    .describe('Loss by position on held-out documents at least as long as the row'),
]);
export type EvaluationTask = z.infer<typeof evaluationTaskSchema>;

/** A model to evaluate, maybe with its RoPE base changed and nothing trained. */
export const evaluationTargetSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]*$/),
  model: modelRefSchema,
  ropeTheta: z
    .number()
    .positive()
    .optional()
    .describe('Overrides the config: "base, theta changed" baselines'),
  ropeScaling: z
    .literal('drop')
    .optional()
    .describe('drop: the config’s scaling of RoPE (llama3, yarn, linear, …) is taken out; absent: it stays'),
  maxPositionEmbeddings: z.int().positive().optional(),
});

export type EvaluationTarget = z.infer<typeof evaluationTargetSchema>;

/** An evaluation job. Each finished sample is one create-only record, so a resumed job repeats none. */
export const evaluateSpecSchema = z.strictObject({
  ...jobBase,
  kind: z.literal('evaluate'),
  targets: z.array(evaluationTargetSchema).min(1),
  tasks: z.array(evaluationTaskSchema).min(1),
});
export type EvaluateSpec = z.infer<typeof evaluateSpecSchema>;

/** Any job spec. */
export const jobSpecSchema = z.discriminatedUnion('kind', [trainSpecSchema, evaluateSpecSchema]);
export type JobSpec = z.infer<typeof jobSpecSchema>;
