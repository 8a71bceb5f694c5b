/** Which run `npm start` shows: the one it started last while that is open, else a new one. */
import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import path from 'node:path';
import { z } from 'zod';
import type { GivenRecipe } from '../../src/cli/recipe-input.js';
import { newRunName, startRun } from '../../src/cli/start-run.js';
import { recipeDigest } from '../../src/domain/recipe/parse.js';
import { describeWorkflow, isOpen } from '../../src/temporal/workflow-state.js';
import { readJson, writeJson } from './lib/files.mjs';

const noteSchema = z.strictObject({
  run: z.string().min(1),
  recipeDigest: z.string().min(1).describe('Of the recipe it was started with'),
});

/** A run and how it came to be the current one. */
export interface CurrentRun {
  readonly run: string;
  readonly runId: string;
  /** A sentence for the user. */
  readonly how: string;
}

/** Continues the last run if it is open and of the same recipe; starts one otherwise. */
export async function currentRun(
  client: Client,
  given: GivenRecipe,
  options: { readonly stateDir: string; readonly isNew: boolean; readonly now: Date },
): Promise<CurrentRun> {
  const file = path.join(options.stateDir, 'data', 'current-run.json');
  const digest = recipeDigest(given.recipe);
  const last = noteSchema.safeParse(await readJson(file)).data;
  const lastRun = last === undefined ? null : await describeWorkflow(client, last.run);
  const goesOn = lastRun !== null && isOpen(lastRun) && last?.recipeDigest === digest && !options.isNew;
  if (goesOn) return { run: lastRun.workflowId, runId: lastRun.runId, how: 'continues where it was' };
  const started = await startRun(client, newRunName(given.recipe.name, options.now), given);
  await writeJson(file, { run: started.run, recipeDigest: digest });
  return { ...started, how: whyNew(lastRun, options.isNew) };
}

function whyNew(last: WorkflowExecutionDescription | null, isNew: boolean): string {
  if (last === null) return 'a new run';
  const { workflowId, status } = last;
  if (!isOpen(last)) return `a new run; the last one, ${workflowId}, is ${status.name.toLowerCase()}`;
  return `a new run beside ${workflowId}, which ${isNew ? '' : 'has another recipe and '}stays open`;
}
