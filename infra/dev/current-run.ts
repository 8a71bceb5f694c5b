/** Which run `npm start` shows: the one it started last while that is open, else a new one. */
import { WorkflowNotFoundError } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import path from 'node:path';
import { z } from 'zod';
import type { GivenRecipe } from '../../src/cli/recipe-input.js';
import { newRunName, startRun } from '../../src/cli/start-run.js';
import { recipeDigest } from '../../src/domain/recipe.js';
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
  const lastRun = last === undefined ? undefined : await describe(client, last.run);
  if (last !== undefined && lastRun?.state === 'RUNNING' && last.recipeDigest === digest && !options.isNew) {
    return { run: last.run, runId: lastRun.runId, how: 'continues where it was' };
  }
  const started = await startRun(client, newRunName(given.recipe.name, options.now), given);
  await writeJson(file, { run: started.run, recipeDigest: digest });
  return { ...started, how: whyNew(last?.run, lastRun?.state, options.isNew) };
}

interface Described {
  readonly state: string;
  readonly runId: string;
}

async function describe(client: Client, run: string): Promise<Described | undefined> {
  try {
    const { status, runId } = await client.workflow.getHandle(run).describe();
    return { state: status.name, runId };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

function whyNew(last: string | undefined, state: string | undefined, isNew: boolean): string {
  if (last === undefined || state === undefined) return 'a new run';
  if (state !== 'RUNNING') return `a new run; the last one, ${last}, is ${state.toLowerCase()}`;
  const why = isNew ? '' : ', which has another recipe';
  return `a new run beside ${last}${why} and stays open`;
}
