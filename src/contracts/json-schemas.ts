/** The contracts by name, and their JSON Schemas, for whoever brings a training container in another language. */
import type { z } from 'zod';
import { inputJsonSchema } from '../domain/lib/json-schema.js';
import { attemptSchema } from './attempt.js';
import {
  checkpointManifestSchema,
  headSchema,
  leaseSchema,
  pinSchema,
  quarantineSchema,
  runOwnerSchema,
} from './checkpoint.js';
import { modelManifestSchema } from './common.js';
import { datasetManifestSchema } from './dataset.js';
import { evaluationRecordSchema, evaluationResultsSchema } from './evaluation.js';
import { eventFileSchema } from './events.js';
import { jobSpecSchema } from './job-spec.js';
import { outcomeSchema } from './outcome.js';

/**
 * Every contract that is an object in the store, by the name of its JSON Schema and its fixtures;
 * `longhaul_trainer.contracts.CONTRACTS` has the same names.
 */
export const CONTRACTS: Readonly<Record<string, z.ZodType>> = {
  attempt: attemptSchema,
  'checkpoint-manifest': checkpointManifestSchema,
  'dataset-manifest': datasetManifestSchema,
  'evaluation-record': evaluationRecordSchema,
  'evaluation-results': evaluationResultsSchema,
  'event-file': eventFileSchema,
  head: headSchema,
  'job-spec': jobSpecSchema,
  lease: leaseSchema,
  'model-manifest': modelManifestSchema,
  outcome: outcomeSchema,
  pin: pinSchema,
  quarantine: quarantineSchema,
  'run-owner': runOwnerSchema,
};

/** The JSON Schema (draft 2020-12) of each contract as text, by name; committed as `schemas/<name>.schema.json`. */
export function contractJsonSchemas(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(CONTRACTS).map(([name, schema]) => [name, schemaText(name, schema)]),
  );
}

function schemaText(name: string, schema: z.ZodType): string {
  const generated = inputJsonSchema(schema);
  return `${JSON.stringify({ title: `Longhaul ${name}`, ...generated }, undefined, 2)}\n`;
}
