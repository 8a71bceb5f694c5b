/** A recipe as the user gives it on the command line: a JSON file, a preset, or nothing. */
import { readFile, stat } from 'node:fs/promises';
import { isObject } from '../domain/lib/json.js';
import { formatProblems, parseRecipe } from '../domain/recipe/parse.js';
import type { Recipe } from '../domain/recipe/parse.js';
import { messageOf } from '../domain/lib/text.js';
import { UserError } from './user-error.js';

/** No file is read that is larger: whatever a recipe's 128 KB are set with, they are no more than this. */
const MOST_BYTES = 1024 * 1024;

/** What the command line says about the recipe. */
export interface RecipeArguments {
  /** A JSON file; its content is laid over the preset. */
  readonly file: string | undefined;
  /** Overrules the file's own `preset`. */
  readonly preset: string | undefined;
}

/** The recipe both as it was given, which is what a workflow gets, and resolved. */
export interface GivenRecipe {
  readonly input: Readonly<Record<string, unknown>>;
  readonly recipe: Recipe;
}

/**
 * Reads and checks a recipe before anything is started.
 *
 * @throws {UserError} with every problem and its path
 */
export async function readRecipe({ file, preset }: RecipeArguments): Promise<GivenRecipe> {
  const given = file === undefined ? {} : await readJsonFile(file);
  if (!isObject(given))
    throw new UserError(`${file ?? ''} holds JSON, but no object: a recipe is written {…}.`);
  return resolveRecipe(preset === undefined ? given : { ...given, preset });
}

/**
 * Checks a recipe.
 *
 * @throws {UserError} with every problem and its path
 */
export function resolveRecipe(input: GivenRecipe['input']): GivenRecipe {
  const parsed = parseRecipe(input);
  if (!parsed.ok) throw new UserError(formatProblems(parsed.problems, parsed.untold));
  return { input, recipe: parsed.recipe };
}

async function readJsonFile(file: string): Promise<unknown> {
  try {
    const { size } = await stat(file);
    if (size > MOST_BYTES)
      throw new UserError(`${file} has ${size} bytes, and no recipe has more than ${MOST_BYTES}.`);
    const parsed: unknown = JSON.parse(await readFile(file, 'utf8'));
    return parsed;
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (error instanceof SyntaxError) throw new UserError(`${file} is not valid JSON: ${error.message}`);
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw new UserError(`There is no file ${file}.`);
    throw new UserError(`${file} can’t be read: ${messageOf(error)}`);
  }
}
