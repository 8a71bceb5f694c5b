/** From what the user wrote to a complete recipe's raw form: overrides laid over a preset. Validates next to nothing. */
import { isObject, merge, without } from '../lib/json.js';
import type { JsonObject } from '../lib/json.js';
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
  const stages = new StageMerge(preset, overrides, problems);
  return Object.fromEntries(
    stages.names
      .filter((name) => overrides[name] !== null)
      .map((name) => [name, withTokens(name, stages.of(name), overrides[name], problems)]),
  );
}

/** Stages over what they are `like`, or else over the preset's stage of their name. Each is merged once. */
class StageMerge {
  readonly names: readonly string[];
  readonly #merged = new Map<string, unknown>();
  readonly #underWay = new Set<string>();

  constructor(
    private readonly preset: JsonObject,
    private readonly overrides: JsonObject,
    private readonly problems: Problem[],
  ) {
    this.names = [...new Set([...Object.keys(preset), ...Object.keys(overrides)])];
  }

  of(name: string): unknown {
    if (this.#merged.has(name)) return this.#merged.get(name);
    this.#underWay.add(name);
    const merged = this.#merge(name);
    this.#underWay.delete(name);
    this.#merged.set(name, merged);
    return merged;
  }

  #merge(name: string): unknown {
    const own = this.#ownOf(this.overrides, name);
    // A stage that is removed can still be one to be like.
    if (own === undefined || own === null) return this.#ownOf(this.preset, name);
    if (!isObject(own)) return own;
    const base = Object.hasOwn(own, 'like') ? this.#like(name, own['like']) : this.#ownOf(this.preset, name);
    return merge(base, without(own, 'like'));
  }

  #like(name: string, like: unknown): unknown {
    const known =
      typeof like === 'string' &&
      (Object.hasOwn(this.preset, like) || isObject(this.#ownOf(this.overrides, like)));
    if (known && !this.#underWay.has(like)) return this.of(like);
    const message = known ? 'is like itself' : `there is no stage ${JSON.stringify(like)} to be like`;
    const accepted = this.names.filter((other) => other !== name).join(', ');
    this.problems.push({ path: `stages.${name}.like`, message, accepted });
    return this.#ownOf(this.preset, name);
  }

  #ownOf(stages: JsonObject, name: string): unknown {
    return Object.hasOwn(stages, name) ? stages[name] : undefined;
  }
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
