/**
 * The recipe: one JSON object that says everything a run does. This is its complete form, with no field left to a
 * default; `parseRecipe` (parse.ts) makes it from a preset and overrides.
 *
 * Things that have names (stages, evaluations, tasks, domains) are maps, so that overrides merge by name and a name cannot
 * occur twice. Order is never taken from a map: stages run in the order of their tree, siblings by name (walk/walk.ts).
 */
import { z } from 'zod';
import { attemptBudgetsSchema } from '../attempt/policy.js';
import { JOB_PHASES } from '../attempt/phase.js';
import { lengthSchema, tokenCountSchema } from './quantities.js';
import { sourceSchema } from './sources.js';

/** Names of stages, evaluations, tasks, targets and domains; they become parts of folder names. */
export const nameSchema = z
  .string()
  .regex(
    /^(?!constructor$)[a-z0-9]+(-[a-z0-9]+)*$/,
    'expected lower-case letters, digits and single hyphens, as in "stage-1"',
  )
  .max(40);

/** No duration is longer than a timer can run, which is 24 days. */
const DAY_SECONDS = 24 * 3600;

/** The model that a stage without another stage to start from starts from. */
export const BASE = 'base';

const folderUrlSchema = z
  .string()
  .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]+\/.*[^/]$/, 'expected s3://bucket/prefix without a trailing slash');

const architectureSchema = z
  .strictObject({
    layers: z.int().positive().describe('Decoder layers'),
    width: z.int().positive().describe('Width of the residual stream'),
    feedForwardWidth: z.int().positive().describe('Inner width of the gated feed-forward'),
    heads: z.int().positive().describe('Query heads'),
    keyValueHeads: z.int().positive().describe('Key and value heads (grouped-query attention)'),
    vocabularySize: z.int().positive().describe('Rows of the embedding'),
    tiedEmbeddings: z.boolean().describe('Input embedding and output head share one matrix'),
  })
  .describe('Numbers of the Llama architecture; the model folder’s config.json must agree');

const baseSchema = z
  .strictObject({
    model: z
      .discriminatedUnion('source', [
        z.strictObject({
          source: z.literal('bundled').describe('Ships with the project'),
          name: z.literal('base-tiny').describe('models/base-tiny'),
        }),
        z.strictObject({
          source: z.literal('s3').describe('A Hugging Face folder in an object store'),
          url: folderUrlSchema.describe('Prefix that holds config.json, safetensors and tokenizer files'),
        }),
      ])
      .describe('Where the weights are'),
    architecture: architectureSchema,
    ropeTheta: z.number().positive().describe('RoPE base the model was trained with (Table 9: 5e5)'),
    ropeScaling: z
      .literal('drop')
      .optional()
      .describe(
        'For a model whose config.json scales RoPE besides (llama3, yarn, linear, …): "drop" takes that out wherever the base changes. Absent: such a model keeps its RoPE, and a change of its base is refused',
      ),
    lengthTokens: lengthSchema.describe(
      'Longest sequence the model was trained on, tokens ("8K" or an integer)',
    ),
  })
  .describe('The model to start from (Table 9: Llama-3-8B-Instruct)');

const tokenizerSchema = z
  .discriminatedUnion('source', [
    z.strictObject({
      source: z.literal('base').describe('tokenizer.json in the base model’s folder'),
      vocabularySize: z.int().positive().describe('Tokens, added special tokens included'),
    }),
    z.strictObject({
      source: z.literal('s3').describe('Another folder in an object store'),
      url: folderUrlSchema.describe('Prefix that holds tokenizer.json and tokenizer_config.json'),
      vocabularySize: z.int().positive().describe('Tokens, added special tokens included'),
    }),
  ])
  .describe('The tokenizer; its vocabulary must be the model’s');

const dataSchema = z
  .strictObject({
    sources: z
      .record(nameSchema, z.array(sourceSchema).min(1).describe('Sources of one domain'))
      .describe('Per domain, where its documents come from'),
    heldOutShare: z
      .number()
      .gt(0)
      .lt(0.5)
      .describe('Share of the documents set aside by document hash, before anything else, for evaluation'),
    maxBadShare: z
      .number()
      .min(0)
      .max(1)
      .describe('Share of unreadable or empty files a source may have; above it, curation fails'),
    cut: z
      .enum(['longest-first', 'by-share'])
      .default('longest-first')
      .describe(
        'Where a domain has several lengths in one mix. longest-first: stretches of the longest length stay whole while its rows want them, and shorter lengths get what is left, as ProLong’s tool cuts; by-share: every stretch goes to a length by hash, in proportion to the shares',
      ),
  })
  .describe('Texts to train and evaluate on');

const exportSchema = z
  .strictObject({
    weights: z
      .enum(['float32', 'bfloat16'])
      .describe('Element type the weights are saved in; master weights and checkpoints stay float32'),
  })
  .describe('How trained models are published');

const mixSchema = z.strictObject({
  domain: nameSchema.describe('A key of data.sources'),
  lengthTokens: lengthSchema
    .nullable()
    .describe(
      'Documents are pieces of exactly this length, and shorter documents are dropped (long data). null: documents of any length, shuffled and packed end to end (short data)',
    ),
  share: z.number().gt(0).max(1).describe('Share of the stage’s rows, and so of its tokens'),
});

const optimizerSchema = z
  .strictObject({
    beta1: z.number().min(0).lt(1).describe('Table 9: 0.9'),
    beta2: z.number().min(0).lt(1).describe('Table 9: 0.95'),
    epsilon: z.number().positive().describe('1e-8: the scripts leave it at its default'),
    weightDecay: z.number().nonnegative().describe('Table 9: 0.1'),
    decayNorms: z
      .boolean()
      .optional()
      .describe('Whether the weights of norms are decayed too, as the scripts do; absent: matrices only'),
    clipNorm: z.number().positive().describe('Global gradient norm is clipped to this; 1.0 in the scripts'),
  })
  .describe('AdamW');

const scheduleSchema = z
  .strictObject({
    peak: z
      .number()
      .positive()
      .describe('Learning rate at the end of the warm-up (Table 9: 1e-5; SFT: 2e-5)'),
    floor: z.number().nonnegative().describe('Learning rate at the end (Table 9: 1e-6; SFT: 2e-6)'),
    warmupShare: z
      .number()
      .min(0)
      .lt(1)
      .describe('Share of the tokens spent warming up (Table 9: 0.1; SFT: 0.05)'),
    rateAt: z
      .enum(['step-end', 'step-start'])
      .optional()
      .describe(
        'Which tokens a step’s rate goes by: those consumed with it (absent, step-end), or those before it (step-start, as Hugging Face’s schedules do: the first step’s rate is 0)',
      ),
  })
  .describe('Learning rate: linear warm-up, then cosine to the floor, by tokens consumed');

const checkpointsSchema = z
  .strictObject({
    everySteps: z
      .union([z.int().positive(), z.literal('auto')], { error: 'expected a number of steps, or "auto"' })
      .describe(
        'A checkpoint every so many steps, and one after the last; "auto": as often as the measured cost of a save and time between interruptions make best (Young/Daly)',
      ),
    keepLast: z.int().positive().describe('The newest so many are kept'),
    keepEvery: z
      .int()
      .nonnegative()
      .describe('Checkpoints at multiples of so many steps are kept too; 0: none'),
  })
  .describe('When checkpoints are committed, and which are kept');

/** What a step's loss may be the mean of. */
export const LOSS_MEANS = ['tokens', 'rows', 'running-average'] as const;

const stageSchema = z
  .strictObject({
    from: nameSchema.describe('What it starts from: "base" or the name of another stage'),
    objective: z
      .enum(['all-tokens', 'masked-tokens'])
      .describe('all-tokens: continued training; masked-tokens: SFT, loss on the assistant’s tokens only'),
    lossMean: z
      .enum(LOSS_MEANS)
      .optional()
      .describe(
        'What a step’s loss is the mean of. tokens (absent): its trained tokens. rows: its rows, of each row’s trained tokens, as the scripts’ micro-batches of one row. running-average: the sum over its trained tokens by the mean number of them in a row so far, as the scripts’ SFT',
      ),
    sequenceLengthTokens: lengthSchema.describe('Tokens per row ("64K" or an integer)'),
    ropeTheta: z
      .number()
      .positive()
      .describe('RoPE base; where it differs from what the stage starts from, the bump is a step of its own'),
    documentMasking: z.boolean().describe('Documents of one row do not attend to each other (Table 9: on)'),
    tokens: tokenCountSchema.describe(
      'Tokens in all, a whole number of global batches. In the input, `steps` may be given instead',
    ),
    globalBatchTokens: lengthSchema.describe(
      'Tokens per optimizer step, a whole number of rows ("4M" is 2^22)',
    ),
    mix: z.array(mixSchema).min(1).describe('What the rows are made of; shares add up to 1'),
    moments: z
      .enum(['carry', 'fresh'])
      .describe(
        'Adam moments: carried from the stage it starts from, or fresh. The schedule always starts anew',
      ),
    schedule: scheduleSchema,
    optimizer: optimizerSchema,
    checkpoints: checkpointsSchema,
  })
  .describe('One training stage');

const taskLengthSchema = z.strictObject({
  lengthTokens: lengthSchema.describe('Prompt and answer fit in this many tokens'),
  contexts: z.int().positive().describe('Contexts made at this length; each is asked once per depth'),
});

const recallFields = {
  lengths: z.array(taskLengthSchema).min(1).describe('Lengths to test at'),
  depths: z
    .array(z.number().min(0).max(1))
    .min(1)
    .describe('Where in the context the answer lies: 0 the start, 1 the end'),
};

const taskSchema = z
  .discriminatedUnion('task', [
    z
      .strictObject({ task: z.literal('kv-recall'), ...recallFields })
      .describe('JSON key-value recall: one key of a long object is asked for'),
    z
      .strictObject({
        task: z.literal('needle'),
        ...recallFields,
        domains: z.array(nameSchema).min(1).describe('Domains whose held-out text is the haystack'),
      })
      .describe('A fact hidden in held-out text is asked for'),
    z
      .strictObject({
        task: z.literal('held-out-loss'),
        lengths: z
          .array(
            z.strictObject({
              lengthTokens: lengthSchema.describe('Row length; documents are at least as long'),
              rows: z.int().positive().describe('Rows at this length'),
            }),
          )
          .min(1)
          .describe('Lengths to test at'),
        domains: z.array(nameSchema).min(1).describe('Domains whose held-out text is read'),
        bucketEdges: z
          .array(lengthSchema)
          .min(1)
          .describe('Ascending positions at which a new bucket of the loss starts'),
      })
      .describe('Loss by position on held-out text'),
  ])
  .describe('One evaluation task');

const evaluationSchema = z
  .strictObject({
    targets: z
      .record(
        nameSchema,
        z
          .strictObject({
            model: nameSchema.describe('"base" or the name of a stage, whose final weights are taken'),
            ropeTheta: z
              .number()
              .positive()
              .optional()
              .describe('Another RoPE base, nothing trained: the "only theta changed" baselines'),
          })
          .describe('A model to evaluate'),
      )
      .describe('What is evaluated, by the name it has in results and report'),
    tasks: z.array(nameSchema).min(1).describe('Keys of `tasks`'),
  })
  .describe('One evaluation: every task on every target. It runs as soon as its last target is there');

const runtimeSchema = z
  .strictObject({
    device: z.enum(['cpu', 'cuda']).describe('Where jobs compute'),
    precision: z
      .enum(['float32', 'bfloat16'])
      .describe('Compute type; master weights and moments stay float32'),
    strict: z.boolean().describe('Deterministic kernels: resumed attempts end in bit-identical weights'),
    threads: z.int().positive().describe('CPU threads per rank; part of the numerics fingerprint'),
  })
  .describe('What decides the numerics of every job');

const executionSchema = z
  .strictObject({
    backend: z.enum(['local']).describe('Where jobs run'),
    graceSeconds: z.number().positive().max(DAY_SECONDS).describe('Between SIGTERM and SIGKILL, seconds'),
    leaseSeconds: z
      .number()
      .min(10)
      .max(7 * DAY_SECONDS)
      .describe(
        'How long a job lives on without anyone watching it (no worker, or a terminated run), seconds',
      ),
    attempts: attemptBudgetsSchema,
    withoutCommit: z
      .strictObject({
        attempts: z.int().positive().describe('Attempts, of whatever class'),
        gpuHours: z
          .number()
          .positive()
          .max(1e9)
          .describe('Device hours (cost.gpus × the time of attempts, without their waits for a place)'),
      })
      .describe('What a stage may use up without a new commit or sample before it parks; preemptions count'),
    onFailure: z
      .enum(['park', 'fail'])
      .describe(
        'What becomes of a run whose stage has used up a budget. park: it waits for an operator; fail: it ends (scripts and tests)',
      ),
    reuse: z
      .boolean()
      .describe(
        'Adopt the verified result of a stage that another run has computed from the same code, settings and inputs',
      ),
    approvals: z
      .array(nameSchema)
      .describe('Stages before which the run waits for an operator’s approval; none by default'),
    numerics: z
      .strictObject({
        spikeFactor: z
          .number()
          .gt(1)
          .nullable()
          .describe('A loss of more than so many times the recent median is a spike; null: only NaN counts'),
        spikeWindowSteps: z.int().min(2).max(100_000).describe('Steps that the recent median is taken over'),
        skipSteps: z
          .int()
          .positive()
          .describe(
            'Steps of data that are left out from a spike or NaN on, after rolling back to a checkpoint',
          ),
      })
      .describe('When a loss counts as broken, and how much data is skipped then'),
    watchdog: z
      .strictObject({
        factor: z
          .number()
          .gt(1)
          .max(1000)
          .describe('A phase may take so many times the slowest of what the run has measured of it lately'),
        floorSeconds: z
          .record(
            z.enum(JOB_PHASES),
            z
              .number()
              .positive()
              .max(7 * DAY_SECONDS)
              .describe('Seconds that are always allowed'),
          )
          .describe(
            'Per phase of a job, the limit while nothing is measured, which no measurement lowers. Events come in every 5 s or so: a shorter limit for steps takes every pause for a hang',
          ),
      })
      .describe('When a job that is alive but does not advance is replaced'),
  })
  .describe('How jobs are run and rerun');

const costSchema = z
  .strictObject({
    gpu: z.string().min(1).max(100).describe('What the figures below are for, for people to read'),
    peakTeraflops: z.number().min(0.001).describe('Peak of one device at the compute type, 10^12 FLOP/s'),
    gpus: z.int().positive().describe('Devices working together: turns device hours into wall time'),
    mfu: z.number().min(0.001).max(1).describe('Model FLOPs utilisation to plan with'),
    stageMfu: z
      .record(nameSchema, z.number().min(0.001).max(1).describe('MFU of this stage'))
      .describe('The same for single stages'),
    pricePerGpuHour: z.number().nonnegative().describe('US dollars per device and hour'),
    packedDocumentTokens: z
      .int()
      .positive()
      .describe('Length that short, packed documents are reckoned at when counting attention'),
    interruptions: z
      .strictObject({
        meanHoursBetween: z
          .number()
          .min(0.001)
          .max(1e6)
          .describe('Mean hours between two interruptions of the whole job: one lost node stops all'),
        relaunchSeconds: z
          .number()
          .nonnegative()
          .max(7 * DAY_SECONDS)
          .describe('From an interruption to the next step: machines, start, load'),
        saveBytesPerSecond: z
          .number()
          .min(1)
          .describe('What all devices together write to the store, bytes per second'),
        stallSeconds: z
          .number()
          .nonnegative()
          .max(DAY_SECONDS)
          .describe('Training lost per checkpoint, which is uploaded beside it'),
      })
      .describe('What is assumed of preemptions'),
  })
  .describe('What the plan reckons with; changes nothing in a run');

/** The complete recipe. `z.input` has lengths like "64K"; `z.output` has integers only. */
export const recipeSchema = z
  .strictObject({
    preset: z.string().describe('Preset it was made from'),
    name: nameSchema.describe('Name of the recipe, for people and reports'),
    seed: z.int().nonnegative().max(0xffff_ffff).describe('Seed of data order and evaluation samples'),
    store: z
      .strictObject({ url: folderUrlSchema.describe('s3://bucket/prefix') })
      .optional()
      .describe('Where datasets, models and runs are kept; absent: the prefix the worker is configured with'),
    base: baseSchema,
    tokenizer: tokenizerSchema,
    data: dataSchema,
    stages: z.record(nameSchema, stageSchema).describe('Training stages by name'),
    tasks: z.record(nameSchema, taskSchema).describe('Evaluation tasks by name'),
    evaluations: z.record(nameSchema, evaluationSchema).describe('Evaluations by name'),
    runtime: runtimeSchema,
    export: exportSchema
      .optional()
      .describe('How trained models are published; absent: in float32, bit for bit what was trained'),
    execution: executionSchema,
    cost: costSchema,
  })
  .describe('A Longhaul recipe');

/** A recipe in its complete, resolved form: frozen into the run, and what everything downstream reads. */
export type Recipe = z.output<typeof recipeSchema>;
/** A complete recipe as presets write it. */
export type RecipeSource = z.input<typeof recipeSchema>;
/** One training stage, resolved. */
export type TrainingStage = Recipe['stages'][string];
/** One part of a stage's mix. */
export type MixPart = TrainingStage['mix'][number];
/** One evaluation task with all its lengths. */
export type RecipeTask = Recipe['tasks'][string];
/** One evaluation. */
export type RecipeEvaluation = Recipe['evaluations'][string];
/** Numbers of the architecture. */
export type Architecture = Recipe['base']['architecture'];

/** Optimizer steps of a stage. */
export function stepsOf(stage: TrainingStage): number {
  return stage.tokens / stage.globalBatchTokens;
}

/** Rows (sequences) a stage consumes. */
export function rowsOf(stage: TrainingStage): number {
  return stage.tokens / stage.sequenceLengthTokens;
}
