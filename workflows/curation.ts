/** Curation: every dataset of the recipe, one after the other; finished ones are adopted by their digest. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { CuratedDataset } from '../activities/curate.js';
import type { ModelRef } from '../src/contracts/index.js';
import type { DatasetPlan } from '../src/domain/datasets.js';
import type { Recipe } from '../src/domain/recipe-schema.js';
import { curateDataset } from './activity-proxies.js';

/** What to curate, and with which tokenizer. */
export interface CurationInput {
  readonly folder: string;
  readonly recipe: Recipe;
  readonly datasets: readonly DatasetPlan[];
  readonly tokenizer: ModelRef;
  /** Prefix below which `datasets/` lies. */
  readonly rootUrl: string;
}

/**
 * Curates every dataset.
 * @throws ApplicationFailure of class `data` or `user-error` when sources are bad or too small.
 */
export async function curation(input: CurationInput): Promise<readonly CuratedDataset[]> {
  const done: CuratedDataset[] = [];
  for (const dataset of input.datasets) {
    const { recipe, tokenizer, rootUrl } = input;
    done.push(await curateDataset({ dataset, recipe, tokenizer, rootUrl }));
    setCurrentDetails(
      done.map(({ name, rows, tokens }) => `- **${name}**: ${rows} rows, ${tokens} tokens`).join('\n'),
    );
  }
  return done;
}
