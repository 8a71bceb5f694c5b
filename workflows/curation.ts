/** Curation: every dataset of the recipe, one after the other; finished ones are adopted by their digest. */
import { allHandlersFinished, condition, setCurrentDetails } from '@temporalio/workflow';
import { z } from 'zod';
import type { CuratedDataset } from '../activities/curate.js';
import { modelRefSchema } from '../src/contracts/common.js';
import type { ModelRef } from '../src/contracts/index.js';
import { datasetPlanSchema } from '../src/domain/walk/datasets.js';
import type { DatasetPlan } from '../src/domain/walk/datasets.js';
import { recipeSchema } from '../src/domain/recipe/schema.js';
import type { Recipe } from '../src/domain/recipe/schema.js';
import { curateDataset } from './activity-proxies.js';
import { DroppedMessages, parsedInput } from './incoming.js';
import { QUEUED_TEXT, onQueued } from './stage-progress.js';

/** What to curate, and with which tokenizer. */
export interface CurationInput {
  /** Stage folder, `<nn-name>`. */
  readonly folder: string;
  readonly recipe: Recipe;
  readonly datasets: readonly DatasetPlan[];
  readonly tokenizer: ModelRef;
  /** Prefix below which `datasets/` lies. */
  readonly rootUrl: string;
}

const curationInputSchema: z.ZodType<CurationInput> = z.strictObject({
  folder: z.string().min(1).max(100),
  recipe: recipeSchema,
  datasets: z.array(datasetPlanSchema),
  tokenizer: modelRefSchema,
  rootUrl: z.string().min(1).max(2000),
});

/**
 * Curates every dataset.
 * @throws ApplicationFailure of class `data` or `user-error` when sources are bad or too small, or when the input is none.
 */
export async function curation(input: CurationInput): Promise<readonly CuratedDataset[]> {
  const { folder, datasets, recipe, tokenizer, rootUrl } = parsedInput(curationInputSchema, input);
  const page = new CurationPage(folder);
  const done: CuratedDataset[] = [];
  for (const dataset of datasets) {
    done.push(await curateDataset({ dataset, recipe, tokenizer, rootUrl }));
    page.show(done);
  }
  await condition(allHandlersFinished);
  return done;
}

/** What the Temporal UI shows on the page of a curation. */
class CurationPage {
  readonly #dropped = new DroppedMessages(() => this.#show());
  #done: readonly CuratedDataset[] = [];
  #isQueued = false;

  constructor(folder: string) {
    onQueued(folder, this.#dropped, (queued) => {
      this.#isQueued = queued;
      this.#show();
    });
  }

  /** Shows the datasets that are there. */
  show(done: readonly CuratedDataset[]): void {
    this.#done = [...done];
    this.#isQueued = false;
    this.#show();
  }

  #show(): void {
    const { warning } = this.#dropped;
    const datasets = this.#done.map(
      ({ name, rows, tokens }) => `- **${name}**: ${rows} rows, ${tokens} tokens`,
    );
    setCurrentDetails(
      [
        ...(datasets.length === 0 ? [] : [datasets.join('\n')]),
        ...(this.#isQueued ? [QUEUED_TEXT] : []),
        ...(warning === null ? [] : [`> Warning: ${warning}`]),
      ].join('\n\n'),
    );
  }
}
