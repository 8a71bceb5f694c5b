/** A recipe of one stage that takes as little as one can: a dozen steps of two rows, a commit after each, no evaluation. */

/** Steps of the stage. */
export const CHAOS_STEPS = 12;
/** Its folder below `stages/`. */
export const CHAOS_STAGE = '02-stage-1';

/** The recipe that every scenario runs. */
export const CHAOS_RECIPE = {
  preset: 'tiny',
  name: 'chaos',
  data: { sources: { code: null, textbooks: null, 'fineweb-edu': null } },
  stages: {
    'stage-1': {
      // As the base model: no RoPE bump.
      sequenceLengthTokens: 256,
      ropeTheta: 10_000,
      globalBatchTokens: 512,
      steps: CHAOS_STEPS,
      mix: [{ domain: 'books', lengthTokens: null, share: 1 }],
      // Every manifest is kept, so that the samples can be followed from the first to the last.
      checkpoints: { everySteps: 1, keepLast: 64 },
    },
    'stage-2': null,
    sft: null,
  },
  tasks: { 'kv-recall': null, needle: null, 'held-out-loss': null },
  evaluations: { 'base-evaluation': null, evaluation: null },
  runtime: { threads: 1 },
  execution: { graceSeconds: 10, onFailure: 'fail' },
} as const;
