/** Shortcuts of the recipe's tests. */
import { expect } from 'vitest';
import { formatProblems, parseRecipe } from '../../../src/domain/recipe/parse.js';
import type { Problem, Recipe } from '../../../src/domain/recipe/parse.js';

/** The recipe that an input resolves to; a refused one fails the test with its problems. */
export function resolve(input: unknown): Recipe {
  const parsed = parseRecipe(input);
  if (!parsed.ok) throw new Error(formatProblems(parsed.problems));
  return parsed.recipe;
}

/** The problems of an input; an accepted one fails the test. */
export function problemsOf(input: unknown): readonly Problem[] {
  const parsed = parseRecipe(input);
  expect(parsed.ok, 'the recipe should have been refused').toBe(false);
  return parsed.ok ? [] : parsed.problems;
}

/** A value that must be there. */
export function present<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new Error('the value is not there');
  return value;
}
