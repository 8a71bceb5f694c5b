/** Before anything is launched: every check that needs the store or a file, then the run's prefix, frozen recipe and base model. */
import type { Digest, ModelRef } from '../src/contracts/index.js';
import type { Recipe } from '../src/domain/recipe-schema.js';
import type { ConfigRef } from './rope-bump.js';

/** The run to prepare. */
export interface PrepareInput {
  readonly run: string;
  readonly recipe: Recipe;
  readonly recipeDigest: Digest;
  readonly namespace: string;
  readonly workflowId: string;
}

/** Where everything is. */
export interface PreparedRun {
  /** `s3://bucket/prefix`: datasets, models and runs lie below it. */
  readonly rootUrl: string;
  readonly runUrl: string;
  readonly base: ModelRef;
  /** Folder with the tokenizer's files. */
  readonly tokenizer: ModelRef;
  readonly baseConfig: ConfigRef;
}
