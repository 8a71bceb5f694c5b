/** From what the user wrote to a complete recipe's raw form: overrides laid over a preset. Validates next to nothing. */
import { isObject, merge, without } from './json.js';
import type { JsonObject } from './json.js';
import { lengthSchema } from './quantities.js';
import type { Problem } from './problem.js';

/** A merged recipe, unvalidated, and what was wrong with the input-only fields (`like`, `steps`). */
export interface MergedRecipe {
  readonly merged: JsonObject;
  readonly problems: readonly Problem[];
}

/**
 * Overrides laid over a preset. Beside what `merge` does, a stage may say
 * - `like`: the name of another stage, whose settings it starts from (a branch in one line);
 * - `steps`: optimizer steps instead of `tokens`.
 */
export function mergeRecipe(preset: JsonObject, overrides: JsonObject): MergedRecipe {
  const problems: Problem[] = [];
  const merged = merge(preset, without(overrides, 'stages'));
  if (!isObject(merged)) return { merged: preset, problems };
  if (!Object.hasOwn(overrides, 'stages')) return { merged, problems };
  const stages = mergeStages(preset['stages'], overrides['stages'], problems);
  return { merged: { ...merged, stages }, problems };
}

function mergeStages(preset: unknown, overrides: unknown, problems: Problem[]): unknown {
  if (!isObject(preset) || !isObject(overrides)) return overrides;
  const names = [...new Set([...Object.keys(preset), ...Object.keys(overrides)])];
  return Object.fromEntries(
    names
      .filter((name) => overrides[name] !== null)
      .map((name) => {
        const stage = mergeStage(name, preset, overrides, problems, []);
        return [name, withTokens(name, stage, overrides[name], problems)];
      }),
  );
}

/** One stage over what it is `like`, or else over the preset's stage of that name. */
function mergeStage(
  name: string,
  preset: JsonObject,
  overrides: JsonObject,
  problems: Problem[],
  seen: readonly string[],
): unknown {
  const own = overrides[name];
  // A stage that is removed can still be one to be like.
  if (own === undefined || own === null) return preset[name];
  if (!isObject(own)) return own;
  if (!Object.hasOwn(own, 'like')) return merge(preset[name], own);
  const like = own['like'];
  const known = typeof like === 'string' && (Object.hasOwn(preset, like) || isObject(overrides[like]));
  if (!known || like === name || seen.includes(like)) {
    const names = [...new Set([...Object.keys(preset), ...Object.keys(overrides)])].filter(
      (other) => other !== name,
    );
    const message = known ? 'is like itself' : `there is no stage ${JSON.stringify(like)} to be like`;
    if (seen.length === 0)
      problems.push({ path: `stages.${name}.like`, message, accepted: names.join(', ') });
    return merge(preset[name], without(own, 'like'));
  }
  return merge(mergeStage(like, preset, overrides, problems, [...seen, name]), without(own, 'like'));
}

/** `steps` turned into `tokens`. */
function withTokens(name: string, stage: unknown, override: unknown, problems: Problem[]): unknown {
  if (!isObject(stage) || !Object.hasOwn(stage, 'steps')) return stage;
  const { steps, ...rest } = stage;
  const path = `stages.${name}.steps`;
  if (isObject(override) && Object.hasOwn(override, 'steps') && Object.hasOwn(override, 'tokens')) {
    problems.push({ path, message: 'steps and tokens are both given', accepted: 'one of them' });
    return rest;
  }
  if (typeof steps !== 'number' || !Number.isSafeInteger(steps) || steps < 1) {
    problems.push({ path, message: 'is not a whole number of steps', accepted: 'a positive integer' });
    return rest;
  }
  const batch = lengthSchema.safeParse(rest['globalBatchTokens']);
  return batch.success ? { ...rest, tokens: steps * batch.data } : rest;
}
