/** Curation of one dataset: from sources on this machine to MDS shards and a manifest in the object store. */
import type { DatasetRef, ModelRef } from '../src/contracts/index.js';
import type { DatasetPlan } from '../src/domain/datasets.js';
import type { Recipe } from '../src/domain/recipe-schema.js';

/** What to curate, and with which tokenizer. */
export interface CurateInput {
  readonly dataset: DatasetPlan;
  readonly recipe: Recipe;
  readonly tokenizer: ModelRef;
  /** Prefix below which `datasets/` lies. */
  readonly rootUrl: string;
}

/** A dataset that is there now. */
export interface CuratedDataset {
  /** As the recipe's steps name it. */
  readonly name: string;
  readonly ref: DatasetRef;
  readonly rows: number;
  readonly tokens: number;
  /** Whether it was there before. */
  readonly adopted: boolean;
}
