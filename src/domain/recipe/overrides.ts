/** Settings that a retry may change about a stage, and the recipe that comes of it. */
import { isObject, merge, valueAt, withValueAt } from '../lib/json.js';
import { PROBLEMS_TOLD } from './problem.js';
import { parseResolvedRecipe } from './parse.js';
import type { ParsedRecipe } from './parse.js';

/** What may change: everything else decides which data the stage reads, or which weights it starts from. */
export const OVERRIDABLE = ['schedule', 'optimizer', 'checkpoints'] as const;

/** The recipe with some settings of one stage changed, or every problem with its path. */
export function overrideStage(
  recipe: unknown,
  stage: string,
  overrides: Readonly<Record<string, unknown>>,
): ParsedRecipe {
  const refused = Object.keys(overrides).filter((key) => !OVERRIDABLE.some((one) => one === key));
  if (refused.length > 0) {
    const accepted = `${OVERRIDABLE.join(', ')}; anything else changes the stage’s data: start a run of its own for that`;
    return {
      ok: false,
      untold: Math.max(0, refused.length - PROBLEMS_TOLD),
      problems: refused.slice(0, PROBLEMS_TOLD).map((key) => ({
        path: `stages.${stage}.${key}`,
        message: 'cannot change in a stage that has begun',
        accepted,
      })),
    };
  }
  const path = ['stages', stage];
  const current = valueAt(recipe, path);
  const merged = isObject(current) ? merge(current, overrides) : overrides;
  return parseResolvedRecipe(withValueAt(recipe, path, merged));
}
