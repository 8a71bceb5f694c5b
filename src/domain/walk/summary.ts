/** A recipe and its steps in one line each, for the summaries that the Temporal UI shows beside workflows. */
import { formatCount, formatLength, formatScientific } from '../recipe/quantities.js';
import { stepsOf } from '../recipe/schema.js';
import type { Recipe } from '../recipe/schema.js';
import { walk } from './walk.js';
import type { Step } from './walk.js';

/** "tiny: base-tiny → stage-1 1K → stage-2 4K → sft 1K; 1.80M tokens, 2 evaluations". */
export function recipeSummary(recipe: Recipe): string {
  const { base, name, stages } = recipe;
  const model =
    base.model.source === 'bundled' ? base.model.name : (base.model.url.split('/').at(-1) ?? 'base');
  const trained = walk(recipe).flatMap((step) =>
    step.kind === 'training' || step.kind === 'sft'
      ? [`${step.stage} ${formatLength(step.settings.sequenceLengthTokens)}`]
      : [],
  );
  const tokens = Object.values(stages).reduce((sum, stage) => sum + stage.tokens, 0);
  const evaluations = Object.keys(recipe.evaluations).length;
  const counted = `${evaluations} ${evaluations === 1 ? 'evaluation' : 'evaluations'}`;
  return `${name}: ${[model, ...trained].join(' → ')}; ${formatCount(tokens)} tokens, ${counted}`;
}

/** What a step does, in one line: "50 steps of 16.4K tokens at 1K, RoPE base 8e3, from base". */
export function stepSummary(step: Step): string {
  switch (step.kind) {
    case 'curation':
      return `${step.datasets.length} datasets: ${step.datasets.map((dataset) => dataset.name).join(', ')}`;
    case 'rope-bump': {
      const { oldTheta, newTheta, suggestion, targetLengthTokens } = step.bump;
      return `${formatScientific(oldTheta)} to ${formatScientific(newTheta)} for ${formatLength(targetLengthTokens)} (dynamic NTK suggests ${formatScientific(Number(suggestion.toPrecision(3)))})`;
    }
    case 'training':
    case 'sft': {
      const { settings } = step;
      const steps = stepsOf(settings);
      return `${steps} ${steps === 1 ? 'step' : 'steps'} of ${formatCount(settings.globalBatchTokens)} tokens at ${formatLength(settings.sequenceLengthTokens)}, RoPE base ${formatScientific(settings.ropeTheta)}, from ${settings.from}`;
    }
    case 'evaluation':
      return `${step.tasks.map((task) => task.name).join(', ')} of ${step.targets.map((target) => target.name).join(', ')}`;
    case 'report':
      return 'One HTML page: what ran, curves, scores, where everything is';
  }
}
