/** Workflow code that does something before the recipe does: replaying the recipe's histories with it must fail. */
import { sleep } from '@temporalio/workflow';
import { recipe as original } from '../../workflows/recipe.js';

export { curation } from '../../workflows/curation.js';
export { evaluation } from '../../workflows/evaluation.js';
export { trainingStage } from '../../workflows/training-stage.js';

/** The recipe, a second later. */
export async function recipe(input?: unknown): ReturnType<typeof original> {
  await sleep('1 second');
  return original(input);
}
