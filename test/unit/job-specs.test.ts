import { describe, expect, it } from 'vitest';
import { commitIdSchema, digestSchema, jobSpecSchema } from '../../src/contracts/index.js';
import type { TrainSpec } from '../../src/contracts/index.js';
import { datasetsOf } from '../../src/domain/walk/datasets.js';
import { PROLONG_8B_READINGS } from '../../src/domain/recipe/presets/prolong-8b.js';
import { parseRecipe, recipeDigest } from '../../src/domain/recipe/parse.js';
import type { Recipe } from '../../src/domain/recipe/parse.js';
import { walk } from '../../src/domain/walk/walk.js';
import { evaluateSpec, trainSpec } from '../../workflows/job-specs.js';
import type { Inputs } from '../../workflows/job-specs.js';

const digest = digestSchema.parse(`sha256:${'0'.repeat(64)}`);
const at = (name: string) => ({ url: `s3://bucket/${name}`, digest });

function resolve(input: object): Recipe {
  const parsed = parseRecipe(input);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.recipe;
}

/** Everything that the steps before have made. */
function inputsOf(recipe: Recipe): Inputs {
  const checkpoint = {
    stageUrl: 's3://bucket/stage',
    commit: commitIdSchema.parse('00000050-0001-0a1b2c3d'),
    manifestDigest: digest,
  };
  return {
    run: 'r',
    runUrl: 's3://bucket/runs/r',
    recipeDigest: digestSchema.parse(recipeDigest(recipe)),
    recipe,
    base: at('base'),
    tokenizer: at('base'),
    baseConfig: at('base/config.json'),
    datasets: new Map(
      datasetsOf(recipe).map(({ name }) => [
        name,
        { manifestUrl: `s3://bucket/${name}/manifest.json`, digest },
      ]),
    ),
    configs: new Map(
      walk(recipe).flatMap(({ kind, folder }) =>
        kind === 'rope-bump' ? [[folder, at(folder)] as const] : [],
      ),
    ),
    trained: new Map(Object.keys(recipe.stages).map((name) => [name, { checkpoint, model: at(name) }])),
  };
}

/** Specs of a recipe's training jobs by stage, each as a trainer reads it. */
function trainSpecs(input: object): ReadonlyMap<string, TrainSpec> {
  const recipe = resolve(input);
  return new Map(
    walk(recipe).flatMap((step) => {
      if (step.kind !== 'training' && step.kind !== 'sft') return [];
      const spec = jobSpecSchema.parse(trainSpec(step, inputsOf(recipe)));
      return spec.kind === 'train' ? [[step.stage, spec] as const] : [];
    }),
  );
}

const settingsOf = (input: object) =>
  [...trainSpecs(input)].map(([name, { lossMean, optimizer, schedule, export: exported }]) => ({
    ...{ name, lossMean, decayNorms: optimizer.decayNorms, rateAt: schedule.rateAt, export: exported },
  }));

describe('a training job is told', () => {
  it('the type to publish in: bfloat16 for prolong-8b, and nothing (float32) for tiny', () => {
    for (const { export: exported } of settingsOf({ preset: 'prolong-8b' }))
      expect(exported).toEqual({ weights: 'bfloat16' });
    for (const { export: exported } of settingsOf({})) expect(exported).toBeUndefined();
  });

  it('nothing of readings that the preset does not take', () => {
    for (const { lossMean, decayNorms, rateAt } of settingsOf({ preset: 'prolong-8b' }))
      expect([lossMean, decayNorms, rateAt]).toEqual([undefined, undefined, undefined]);
  });

  it.each<[string, object]>([
    ['Weight decay', { decayNorms: [true, true, true] }],
    ['Where the schedule starts', { rateAt: ['step-start', 'step-start', 'step-start'] }],
    ['the two long stages', { lossMean: ['rows', 'rows', undefined] }],
    ['the loss of SFT', { lossMean: [undefined, undefined, 'running-average'] }],
  ])('the other reading where the recipe takes it: %s', (words, expected) => {
    const found = PROLONG_8B_READINGS.filter(({ question }) => question.includes(words));
    expect(found).toHaveLength(1);
    const settings = settingsOf({ preset: 'prolong-8b', ...found[0]?.overrides });
    const stages = ['stage-1', 'stage-2', 'sft'];
    const byStage = stages.map((stage) => settings.find(({ name }) => name === stage));
    for (const [field, values] of Object.entries(expected)) {
      expect(byStage.map((one) => Object.entries(one ?? {}).find(([key]) => key === field)?.[1])).toEqual(
        values,
      );
    }
  });
});

describe('an evaluation drops a scaling of RoPE where it changes the base, as a bump does', () => {
  const targetsOf = (base: object) => {
    const recipe = resolve({ base });
    const step = walk(recipe).find(
      (one) => one.kind === 'evaluation' && one.evaluation === 'base-evaluation',
    );
    if (step?.kind !== 'evaluation') throw new Error('no evaluation');
    const spec = jobSpecSchema.parse(evaluateSpec(step, inputsOf(recipe)));
    return spec.kind === 'evaluate' ? spec.targets.map(({ name, ropeScaling }) => [name, ropeScaling]) : [];
  };

  it('and nowhere else', () => {
    expect(targetsOf({ ropeScaling: 'drop' })).toEqual([
      ['base', undefined],
      ['base-at-stage-1-theta', 'drop'],
      ['base-at-stage-2-theta', 'drop'],
    ]);
    expect(targetsOf({}).map(([, scaling]) => scaling)).toEqual([undefined, undefined, undefined]);
  });
});
