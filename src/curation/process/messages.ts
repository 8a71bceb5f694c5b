/** What a worker and its curation processes tell each other, as JSON. */
import { z } from 'zod';
import { datasetRefSchema, modelRefSchema } from '../../contracts/common.js';
import { datasetPlanSchema } from '../../domain/walk/datasets.js';
import type { Problem } from '../../domain/recipe/problem.js';
import { recipeSchema } from '../../domain/recipe/schema.js';
import type { CurationProgress } from '../curate.js';
import type { SourceRoots } from '../read/index.js';

/** Where sources are looked up. */
export const rootsSchema: z.ZodType<SourceRoots> = z.strictObject({
  project: z.string(),
  npm: z.string(),
  python: z.string(),
  interpreter: z.string(),
  allowed: z.array(z.string()),
  deadlineMs: z.number().optional(),
});

/** One dataset to make. Credentials come with the environment. */
export const curationRequestSchema = z.strictObject({
  plan: datasetPlanSchema,
  data: recipeSchema.shape.data,
  seed: z.int(),
  vocabularySize: z.int(),
  tokenizer: modelRefSchema,
  /** Prefix below which `datasets/` lies. */
  rootUrl: z.string(),
  roots: rootsSchema,
  cacheFolder: z.string(),
  store: z.strictObject({
    endpoint: z.string().optional(),
    region: z.string(),
    maxAttempts: z.int().optional(),
    idleMs: z.int().optional(),
  }),
});
export type CurationRequest = z.output<typeof curationRequestSchema>;

/** Sources to look at, before anything is launched: what they name may be anything, and must not keep a worker. */
export const sourceCheckSchema = z.strictObject({
  check: z.literal('sources'),
  sources: recipeSchema.shape.data.shape.sources,
  roots: rootsSchema,
});
export type SourceCheck = z.output<typeof sourceCheckSchema>;

/** The first and only message to a curation process. */
export const processRequestSchema = z.union([curationRequestSchema, sourceCheckSchema]);
export type ProcessRequest = z.output<typeof processRequestSchema>;

const progressSchema: z.ZodType<CurationProgress> = z.discriminatedUnion('phase', [
  z.strictObject({
    phase: z.literal('reading'),
    domain: z.string(),
    documents: z.int(),
    tokens: z.int(),
  }),
  z.strictObject({ phase: z.literal('writing'), rows: z.int(), rowsInAll: z.int() }),
]);

const curatedSchema = z.strictObject({
  ref: datasetRefSchema,
  rows: z.int(),
  tokens: z.int(),
  /** It was there already. */
  adopted: z.boolean(),
});
/** A dataset that a process has curated: its reference, not its manifest, which grows with its rows. */
export type CuratedInProcess = z.output<typeof curatedSchema>;

const problemSchema: z.ZodType<Problem> = z.strictObject({
  path: z.string(),
  message: z.string(),
  accepted: z.string().optional(),
});

/** What a curation process says: how far it is, and in the end the dataset, what the sources lack, or why it has neither. */
export const curationAnswerSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('progress'), progress: progressSchema }),
  z.strictObject({ type: z.literal('curated'), curated: curatedSchema }),
  z.strictObject({ type: z.literal('checked'), problems: z.array(problemSchema) }),
  z.strictObject({
    type: z.literal('failed'),
    /** Class name of the error. */
    name: z.string(),
    message: z.string(),
    /** Of a CurationError; null: of any other. */
    failureClass: z.enum(['data', 'user-error']).nullable(),
    /** Of a StoreError: what the store's answer means, and for which object. */
    store: z.strictObject({ code: z.string(), url: z.string() }).nullable(),
    /** Of an error of the operating system: its code, and in which call it came. */
    system: z.strictObject({ code: z.string(), syscall: z.string() }).nullable(),
  }),
]);
export type CurationAnswer = z.output<typeof curationAnswerSchema>;
