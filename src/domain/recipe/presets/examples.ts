/** Recipes that the reference page shows. Each is valid; a test parses them. */
import type { JsonObject } from '../../lib/json.js';
import { TINY } from './tiny.js';

/** The tiny preset's own RoPE bases: of its base model, and of stage 1. */
const baseTheta = TINY.base.ropeTheta;
const stageOneTheta = TINY.evaluations['base-evaluation'].targets['base-at-stage-1-theta'].ropeTheta;

/** A recipe and what it is for. */
export interface RecipeExample {
  readonly title: string;
  readonly recipe: JsonObject;
}

/** Examples, from nothing to branches. */
export const RECIPE_EXAMPLES: readonly RecipeExample[] = [
  { title: 'The tiny preset as it is', recipe: {} },
  {
    title: 'Table 9 with the script’s learning rate in stage 2, reckoned at another price',
    recipe: {
      preset: 'prolong-8b',
      stages: { 'stage-2': { schedule: { peak: 5e-6 } } },
      cost: { gpus: 128, pricePerGpuHour: 1.9, stageMfu: { 'stage-2': 0.35 } },
    },
  },
  {
    title: 'An ablation: RoPE base kept as it is (Table 18)',
    recipe: {
      name: 'no-rope-bump',
      stages: {
        'stage-1': { ropeTheta: baseTheta },
        'stage-2': { ropeTheta: baseTheta },
        sft: { ropeTheta: baseTheta },
      },
    },
  },
  {
    title: 'An ablation: documents of one row see each other (Table 20)',
    recipe: { name: 'no-document-masking', stages: { 'stage-1': { documentMasking: false } } },
  },
  {
    title:
      'Two branches of stage 1, as in Table 7: the same number of steps more at its own length, and at the longer one',
    recipe: {
      name: 'table-7',
      stages: {
        'more-1k': { like: 'stage-1', from: 'stage-1', moments: 'carry', steps: 12 },
        'more-4k': { like: 'stage-2', steps: 12 },
        'stage-2': null,
        sft: null,
      },
      evaluations: {
        evaluation: {
          targets: {
            'stage-2': null,
            sft: null,
            'more-1k': { model: 'more-1k' },
            'more-4k': { model: 'more-4k' },
          },
        },
      },
    },
  },
  {
    title: 'Scores after an SFT of stage 1’s own, beside those of the whole recipe',
    recipe: {
      stages: { 'sft-of-stage-1': { like: 'sft', from: 'stage-1', ropeTheta: stageOneTheta } },
      evaluations: { evaluation: { targets: { 'sft-of-stage-1': { model: 'sft-of-stage-1' } } } },
    },
  },
  {
    title: 'Another model of the Llama family from an object store',
    recipe: {
      preset: 'prolong-8b',
      name: 'my-1b',
      base: {
        model: { source: 's3', url: 's3://my-bucket/models/my-1b' },
        architecture: {
          layers: 16,
          width: 2048,
          feedForwardWidth: 8192,
          heads: 32,
          keyValueHeads: 8,
          tiedEmbeddings: true,
        },
      },
    },
  },
];
