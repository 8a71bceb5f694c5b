/** Which models were evaluated, what each was made from, and how the page calls it. Follows from the recipe. */
import type { ModelRef } from '../../contracts/index.js';
import { BASE } from '../../domain/recipe/schema.js';
import type { Recipe } from '../../domain/recipe/schema.js';
import { titleOf, walk } from '../../domain/walk/walk.js';
import type { EvaluationTargetStep } from '../../domain/walk/walk.js';
import { theta } from '../page/format.js';
import type { ReportModel } from './report-data.js';

/** Name of the trained model behind a target: a stage, or the base. */
function sourceName({ source }: EvaluationTargetStep): string {
  return source.from === 'base' ? BASE : source.stage;
}

/** Targets of all evaluations in the order in which they run, each name once. */
function targetsOf(recipe: Recipe): EvaluationTargetStep[] {
  const all = walk(recipe).flatMap((step) => (step.kind === 'evaluation' ? step.targets : []));
  return [...new Map(all.map((target) => [target.name, target])).values()];
}

/** The nearest evaluated ancestor of a model, by the target's name. */
function parentOf(target: EvaluationTargetStep, targets: readonly EvaluationTargetStep[], recipe: Recipe) {
  const plain = (name: string) =>
    targets.find((other) => other.ropeTheta === undefined && sourceName(other) === name)?.name;
  let source = sourceName(target);
  if (target.ropeTheta !== undefined) return plain(source) ?? null;
  while (source !== BASE) {
    source = recipe.stages[source]?.from ?? BASE;
    const parent = plain(source);
    if (parent !== undefined) return parent;
  }
  return null;
}

function roleOf(target: EvaluationTargetStep, recipe: Recipe): ReportModel['role'] {
  if (target.ropeTheta !== undefined) return 'theta-only';
  if (target.source.from === 'base') return 'base';
  return recipe.stages[target.source.stage]?.objective === 'masked-tokens' ? 'sft' : 'stage';
}

function labelOf(target: EvaluationTargetStep): string {
  const name = titleOf(sourceName(target));
  if (target.ropeTheta !== undefined) return `${name}, theta set to ${theta(target.ropeTheta)}`;
  return target.name === sourceName(target) ? name : titleOf(target.name);
}

/**
 * The evaluated models in the order in which the recipe makes them.
 * @param refs Where the models lie, by target name; a target that isn't in it was not launched.
 */
export function reportModels(recipe: Recipe, refs: ReadonlyMap<string, ModelRef>): ReportModel[] {
  const targets = targetsOf(recipe);
  return targets.map((target) => ({
    name: target.name,
    label: labelOf(target),
    role: roleOf(target, recipe),
    startsFrom: parentOf(target, targets, recipe),
    trainedLengthTokens: target.trainedLengthTokens,
    ropeTheta: target.effectiveTheta,
    model: refs.get(target.name) ?? null,
  }));
}
