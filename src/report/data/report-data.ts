/**
 * What the report page is made of. Everything the page says comes from one `ReportData` object, which is stored
 * beside the page as `report/data.json`. `null` and empty lists mean "not measured" and are shown as such; nothing
 * is guessed.
 */
import { z } from 'zod';
import {
  digestSchema,
  instantSchema,
  modelRefSchema,
  objectUrlSchema,
  sourceCountSchema,
  fingerprintSchema,
  secondsByLabelSchema,
} from '../../contracts/index.js';
import { FAILURE_CLASSES } from '../../domain/attempt/failure-class.js';
import { VERDICTS } from './statistics.js';
import { STAGE_KINDS, STAGE_STATES } from '../../domain/run/status.js';

const estimated = {
  mean: z.number(),
  samples: z.int().positive().describe('Questions or rows behind it'),
  clusters: z
    .int()
    .positive()
    .describe('Contexts or rows drawn independently: questions of one context are not'),
};

/** A mean over samples with its interval. */
export const estimateSchema = z.strictObject({
  ...estimated,
  low: z
    .number()
    .nullable()
    .describe('Lower end of the interval; null: one context or row says nothing of it'),
  high: z.number().nullable().describe('Upper end of the interval; null as the lower end'),
});
export type Estimate = z.infer<typeof estimateSchema>;

/** A share of samples with its interval. */
export const shareSchema = z.strictObject({
  ...estimated,
  low: z.number().describe('Lower end of the interval'),
  high: z.number().describe('Upper end of the interval'),
});

/** A model that was evaluated, in the order the report shows them. */
export const reportModelSchema = z.strictObject({
  name: z.string().min(1).describe('Name of the evaluation target'),
  label: z.string().min(1).describe('How the page calls it: "Base", "Stage 1", …'),
  role: z.enum(['base', 'theta-only', 'stage', 'sft']),
  startsFrom: z.string().nullable().describe('Name of the model it was made from; null for the base'),
  trainedLengthTokens: z.int().positive().nullable().describe('Longest sequence it was trained on'),
  ropeTheta: z.number().positive().nullable(),
  model: modelRefSchema.nullable(),
});
export type ReportModel = z.infer<typeof reportModelSchema>;

/** Recall of one model at one length. */
export const recallScoreSchema = z.strictObject({
  model: z.string(),
  task: z.enum(['kv-recall', 'needle']),
  lengthTokens: z.int().positive(),
  promptTokens: z
    .strictObject({ fewest: z.int().positive(), most: z.int().positive() })
    .describe('Tokens that prompts really had, answers not counted'),
  exactMatch: shareSchema.describe('Share of questions answered exactly'),
  answerLogProbability: estimateSchema.describe('Mean log-probability of the right answer, nats per answer'),
  depths: z
    .array(
      z.strictObject({
        depth: z.number().min(0).max(1),
        samples: z.int().positive(),
        exactMatch: z.number().min(0).max(1),
        answerLogProbability: z.number(),
      }),
    )
    .describe('Ascending by depth'),
});
export type RecallScore = z.infer<typeof recallScoreSchema>;

/** Held-out loss of one model on rows of one length, by position. */
export const lossScoreSchema = z.strictObject({
  model: z.string(),
  lengthTokens: z.int().positive(),
  buckets: z.array(
    z.strictObject({
      from: z.int().nonnegative(),
      to: z.int().positive(),
      tokens: z.int().nonnegative(),
      loss: estimateSchema.nullable().describe('Nats per token; null when the bucket holds no token'),
    }),
  ),
});
export type LossScore = z.infer<typeof lossScoreSchema>;

/** A paired comparison of two models over the samples both answered. */
export const comparisonSchema = z.strictObject({
  model: z.string(),
  against: z.string(),
  task: z.enum(['kv-recall', 'needle', 'held-out-loss']),
  metric: z.enum(['exact-match', 'answer-log-probability', 'loss']),
  lengthTokens: z.int().positive(),
  positions: z
    .strictObject({ from: z.int().nonnegative(), to: z.int().positive() })
    .nullable()
    .describe('Of the loss: the bucket compared; null for recall'),
  difference: estimateSchema.describe('Model minus against'),
  pValue: z.number().min(0).max(1).describe('Two-sided, of the sign-flip test'),
  verdict: z.enum(VERDICTS).describe('Of the first-named model'),
});
export type Comparison = z.infer<typeof comparisonSchema>;

/** All scores of a run. */
export const scoresSchema = z.strictObject({
  confidence: z.number().gt(0).lt(1).describe('Confidence of every interval'),
  recall: z.array(recallScoreSchema),
  loss: z.array(lossScoreSchema),
  comparisons: z.array(comparisonSchema),
});
export type Scores = z.infer<typeof scoresSchema>;

/** One optimizer step as it was reported. */
export const trainingPointSchema = z.strictObject({
  step: z.int().positive(),
  tokens: z.int().positive(),
  loss: z.number(),
  learningRate: z.number(),
  gradientNorm: z.number(),
  seconds: z.number().nonnegative(),
});
export type TrainingPoint = z.infer<typeof trainingPointSchema>;

/** The curve of a training stage. */
export const trainingCurveSchema = z.strictObject({
  stage: z.string(),
  label: z.string(),
  points: z.array(trainingPointSchema).describe('Ascending by step; of a replayed step, the last report'),
  resumes: z
    .array(z.strictObject({ epoch: z.int().positive(), fromStep: z.int().nonnegative() }))
    .describe('Attempts after the first, and the step each continued from'),
});
export type TrainingCurve = z.infer<typeof trainingCurveSchema>;

/** One attempt of a stage. */
export const reportAttemptSchema = z.strictObject({
  epoch: z.int().positive(),
  result: z.enum(['trained', 'evaluated', 'ended', 'no-outcome']),
  class: z.enum(FAILURE_CLASSES).nullable().describe('Why it ended, when it did not finish'),
  message: z.string(),
  startedAt: instantSchema.nullable(),
  endedAt: instantSchema.nullable(),
  step: z.int().nonnegative().nullable(),
  seconds: secondsByLabelSchema.nullable(),
});
export type ReportAttempt = z.infer<typeof reportAttemptSchema>;

/** What a step of the recipe was, and how it went. */
export const reportStageSchema = z.strictObject({
  name: z.string().min(1).describe('Stage folder, <nn-name>'),
  label: z.string().min(1),
  kind: z.enum(STAGE_KINDS),
  state: z.enum(STAGE_STATES),
  startedAt: instantSchema.nullable(),
  endedAt: instantSchema.nullable(),
  attempts: z.array(reportAttemptSchema).describe('Empty for steps that run no job'),
  note: z.string(),
});
export type ReportStage = z.infer<typeof reportStageSchema>;

/** A planned quantity beside what happened. */
const plannedActual = z.strictObject({
  planned: z.number().nonnegative().nullable(),
  actual: z.number().nonnegative().nullable(),
});

/** Planned against actual, of one stage. */
export const planRowSchema = z.strictObject({
  stage: z.string(),
  label: z.string(),
  steps: plannedActual,
  tokens: plannedActual,
  seconds: plannedActual.describe('Wall time of the jobs'),
  flops: plannedActual.describe('Model FLOPs, recomputation not counted'),
});
export type PlanRow = z.infer<typeof planRowSchema>;

/** One RoPE bump. */
export const ropeBumpSchema = z.strictObject({
  stage: z.string(),
  label: z.string(),
  fromTheta: z.number().positive(),
  toTheta: z.number().positive(),
  suggestedTheta: z.number().positive().nullable().describe('Dynamic NTK for the length ratio'),
  fromLengthTokens: z.int().positive(),
  toLengthTokens: z.int().positive(),
});
export type RopeBump = z.infer<typeof ropeBumpSchema>;

/** A curated dataset, and who read it. */
export const reportDatasetSchema = z.strictObject({
  name: z.string(),
  usedBy: z.array(z.string()).describe('Labels of the stages that read it'),
  sequenceLengthTokens: z.int().positive(),
  rows: z.int().positive(),
  tokens: z.int().positive(),
  domains: z.array(
    z.strictObject({
      name: z.string(),
      rows: z.int().nonnegative(),
      documents: z.int().nonnegative(),
      passes: z.number().nonnegative(),
      untrainedDocuments: z.int().nonnegative().describe('Dialogues left out: nothing to train on in a row'),
    }),
  ),
  sources: z.array(sourceCountSchema),
});
export type ReportDataset = z.infer<typeof reportDatasetSchema>;

/** Where something lies, and the digest that proves it. */
export const artifactSchema = z.strictObject({
  what: z.string(),
  url: objectUrlSchema,
  digest: digestSchema.nullable(),
  of: z.string().nullable().describe('What the digest is of: "manifest.json", "weights", …'),
});
export type Artifact = z.infer<typeof artifactSchema>;

/** What a report is made of. */
export const reportDataSchema = z.strictObject({
  schema: z.literal('longhaul.report/1'),
  generatedAt: instantSchema,
  run: z.strictObject({
    name: z.string().min(1),
    url: objectUrlSchema,
    workflowId: z.string().nullable(),
    startedAt: instantSchema.nullable(),
    temporalUiUrl: z
      .url({ protocol: /^https?$/ })
      .nullable()
      .describe('Address of the run in the Temporal UI'),
  }),
  recipe: z.strictObject({
    preset: z.string().nullable(),
    digest: digestSchema.nullable(),
    resolved: z.json().describe('The frozen recipe'),
  }),
  models: z.array(reportModelSchema),
  scores: scoresSchema,
  training: z.array(trainingCurveSchema),
  stages: z.array(reportStageSchema),
  plan: z.array(planRowSchema),
  ropeBumps: z.array(ropeBumpSchema),
  datasets: z.array(reportDatasetSchema),
  artifacts: z.array(artifactSchema),
  environments: z
    .array(z.strictObject({ stages: z.array(z.string()), fingerprint: fingerprintSchema }))
    .describe('Distinct numerics fingerprints, and the stages that ran under each'),
  notes: z.array(z.string()).describe('What could not be read, in words for the reader'),
});
export type ReportData = z.infer<typeof reportDataSchema>;
