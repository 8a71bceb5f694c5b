import { describe, expect, it } from 'vitest';
import { formatProblems } from '../../../src/domain/recipe/parse.js';
import { problemsOf } from './support.js';

const half = { domain: 'code', lengthTokens: null, share: 0.5 };

/** An input, and the path and a part of the message of each of its problems. */
const cases: readonly (readonly [string, unknown, readonly (readonly [string, RegExp])[]])[] = [
  ['something that is no object', [], [['', /is a list/]]],
  ['null', null, [['', /is null/]]],
  ['a preset that does not exist', { preset: 'prolong' }, [['preset', /no preset "prolong"/]]],
  ['an unknown key', { sead: 1 }, [['sead', /unknown key/]]],
  [
    'an unknown key deep inside',
    { stages: { sft: { optimizer: { beta3: 1 } } } },
    [['stages.sft.optimizer.beta3', /unknown key/]],
  ],
  [
    'a name that cannot be a folder',
    { stages: { 'Stage 3': null, 'a b': {} } },
    [['stages.a b', /lower-case/]],
  ],
  ['a number that is text', { seed: '7' }, [['seed', /expected number/]]],
  [
    'shares that do not add up',
    { stages: { 'stage-1': { mix: [half] } } },
    [['stages.stage-1.mix', /add up to 0.5$/]],
  ],
  [
    'a share twice',
    { stages: { 'stage-1': { mix: [half, half] } } },
    [['stages.stage-1.mix[1]', /says again what mix\[0\] says/]],
  ],
  [
    'a domain without sources',
    { stages: { 'stage-1': { mix: [{ ...half, domain: 'news', share: 1 }] } } },
    [['stages.stage-1.mix[0].domain', /no sources for the domain "news"/]],
  ],
  [
    'a batch that is no whole number of rows',
    { stages: { 'stage-1': { globalBatchTokens: 1500, tokens: 3000 } } },
    [['stages.stage-1.globalBatchTokens', /1500 tokens is no whole number of rows of 1024/]],
  ],
  [
    'tokens that are no whole number of batches',
    { stages: { 'stage-1': { tokens: 16_385 } } },
    [['stages.stage-1.tokens', /16385 tokens are no whole number of steps of 8192/]],
  ],
  [
    'documents that do not fill a row',
    { stages: { 'stage-1': { mix: [{ domain: 'code', lengthTokens: 1000, share: 1 }] } } },
    [['stages.stage-1.mix[0].lengthTokens', /1000 do not fill rows of 1K/]],
  ],
  [
    'documents longer than a row',
    { stages: { 'stage-1': { mix: [{ domain: 'code', lengthTokens: '2K', share: 1 }] } } },
    [['stages.stage-1.mix[0].lengthTokens', /2K do not fill rows of 1K/]],
  ],
  [
    'a RoPE base that goes down',
    { stages: { 'stage-2': { ropeTheta: 4e3 }, sft: { ropeTheta: 4e3 } } },
    [['stages.stage-2.ropeTheta', /goes down, from .* of "stage-1" to 4e3/]],
  ],
  [
    'SFT on texts without assistant turns',
    { stages: { sft: { mix: [{ domain: 'books', lengthTokens: null, share: 1 }] } } },
    [['stages.sft.mix[0].domain', /without assistant turns/]],
  ],
  [
    'SFT on pieces of conversations',
    { stages: { sft: { mix: [{ domain: 'ultrachat', lengthTokens: '1K', share: 1 }] } } },
    [['stages.sft.mix[0].lengthTokens', /packed whole/]],
  ],
  [
    'a tokenizer of another vocabulary',
    { tokenizer: { vocabularySize: 2000 } },
    [['tokenizer.vocabularySize', /has 2000 tokens, the model’s vocabulary 2048/]],
  ],
  [
    'a stage that starts from nothing known',
    { stages: { 'stage-2': { from: 'stage-0' } } },
    [['stages.stage-2.from', /no stage "stage-0"/]],
  ],
  [
    'stages that start from each other',
    { stages: { 'stage-1': { from: 'sft' } } },
    [
      ['stages.stage-1.from', /starts from itself: stage-1 ← sft ← stage-2 ← stage-1/],
      ['stages.stage-2.from', /starts from itself/],
      ['stages.sft.from', /starts from itself/],
    ],
  ],
  [
    'moments that the base has not',
    { stages: { 'stage-1': { moments: 'carry' } } },
    [['stages.stage-1.moments', /without Adam moments/]],
  ],
  [
    'a floor above the peak',
    { stages: { sft: { schedule: { floor: 1 } } } },
    [['stages.sft.schedule.floor', /floor 1 is above the peak/]],
  ],
  ['no steps', { stages: { sft: { steps: 0 } } }, [['stages.sft.steps', /whole number of steps/]]],
  [
    'steps and tokens',
    { stages: { sft: { steps: 1, tokens: 16_384 } } },
    [['stages.sft.steps', /both given/]],
  ],
  [
    'a stage like none',
    { stages: { sft: { like: 'dpo' } } },
    [['stages.sft.like', /no stage "dpo" to be like/]],
  ],
  [
    'a new stage that says next to nothing',
    { stages: { more: { from: 'stage-1' } } },
    [['stages.more', /objective, sequenceLengthTokens, .* are missing/]],
  ],
  ['a stage named like a step', { stages: { report: { like: 'sft' } } }, [['stages.report', /reserved/]]],
  [
    'an evaluation named like a stage',
    { evaluations: { sft: { targets: { base: { model: 'base' } }, tasks: ['needle'] } } },
    [['evaluations.sft', /a stage has the same name/]],
  ],
  [
    'an evaluation of an unknown stage',
    { evaluations: { evaluation: { targets: { dpo: { model: 'dpo' } } } } },
    [['evaluations.evaluation.targets.dpo.model', /no stage "dpo" to evaluate/]],
  ],
  [
    'an evaluation on an unknown task',
    { evaluations: { evaluation: { tasks: ['needle', 'mmlu'] } } },
    [['evaluations.evaluation.tasks[1]', /no task "mmlu"/]],
  ],
  [
    'one target name for two models',
    { evaluations: { evaluation: { targets: { base: { model: 'sft' } } } } },
    [['evaluations.evaluation.targets.base', /another model in evaluations.base-evaluation/]],
  ],
  [
    'a task longer than anything trained',
    { tasks: { 'kv-recall': { lengths: [{ lengthTokens: '8K', contexts: 1 }] } } },
    [['tasks.kv-recall.lengths[0].lengthTokens', /8K is longer than anything/]],
  ],
  [
    'a haystack of a domain without sources',
    { tasks: { needle: { domains: ['essays'] } } },
    [['tasks.needle.domains[0]', /no sources for the domain "essays"/]],
  ],
  [
    'bucket edges in disorder',
    { tasks: { 'held-out-loss': { bucketEdges: [256, 64] } } },
    [['tasks.held-out-loss.bucketEdges', /do not ascend/]],
  ],
  [
    'lookups that leave rows to nobody',
    { data: { sources: { code: [{ kind: 'lookups', share: 0.5 }] } } },
    [['data.sources.code', /nothing has the rest/]],
  ],
  [
    'a width that heads do not divide',
    { base: { architecture: { heads: 3 } } },
    [
      ['base.architecture.width', /no even number per head/],
      ['base.architecture.keyValueHeads', /2 key-value heads do not divide 3/],
    ],
  ],
  [
    'a plan for an unknown stage',
    { cost: { stageMfu: { dpo: 0.3 } } },
    [['cost.stageMfu.dpo', /no stage "dpo"/]],
  ],
  [
    'a URL that is no prefix',
    { store: { url: 's3://bucket/' } },
    [['store.url', /without a trailing slash/]],
  ],
  ['a model from nowhere known', { base: { model: { source: 'hub' } } }, [['base.model.source', /./]]],
];

describe('a bad recipe is refused, with the path of what is wrong', () => {
  it.each(cases)('refuses %s', (_, input, expected) => {
    const problems = problemsOf(input);
    expect(problems.map(({ path }) => path)).toEqual(expected.map(([path]) => path));
    expected.forEach(([, message], index) => expect(problems[index]?.message).toMatch(message));
  });

  it('says what would be accepted', () => {
    const accepted = (input: unknown) => problemsOf(input)[0]?.accepted;
    expect(accepted({ preset: 'x' })).toBe('tiny, prolong-8b');
    expect(accepted({ runtime: { device: 'tpu' } })).toBe('"cpu", "cuda"');
    expect(accepted({ runtime: { cores: 2 } })).toBe('device, precision, strict, threads');
    expect(accepted({ stages: { sft: { tokens: 20_000 } } })).toBe('16384 (2 steps) or 24576 (3 steps)');
    expect(accepted({ stages: { sft: { from: 'x' } } })).toBe('base, stage-1, stage-2');
  });
});

describe('every problem is reported at once', () => {
  it('finds problems of single fields and across fields in one go, each once', () => {
    const problems = problemsOf({
      sead: 1,
      runtime: { device: 'tpu' },
      tokenizer: { vocabularySize: 5 },
      stages: {
        'stage-1': { mix: [{ ...half, x: 1 }] },
        'stage-2': { tokens: '20B', ropeTheta: 1 },
        sft: { steps: 1.5, from: 'nowhere' },
      },
      evaluations: { evaluation: { tasks: ['mmlu'] } },
    });
    expect(problems.map(({ path }) => path).sort()).toEqual([
      'evaluations.evaluation.tasks[0]',
      'runtime.device',
      'sead',
      'stages.sft.from',
      'stages.sft.steps',
      'stages.stage-1.mix',
      'stages.stage-1.mix[0].x',
      'stages.stage-2.ropeTheta',
      'stages.stage-2.tokens',
      'tokenizer.vocabularySize',
    ]);
  });

  it('does not conclude anything from a field that is itself at fault', () => {
    const problems = problemsOf({
      stages: { 'stage-1': { sequenceLengthTokens: 'long', globalBatchTokens: 1000 } },
    });
    expect(problems.map(({ path }) => path)).not.toContain('stages.stage-1.globalBatchTokens');
  });

  it('is told in lines of path, message and what would be accepted', () => {
    expect(formatProblems(problemsOf({ seed: -1, sead: 1, preset: 'tiny' }))).toMatchInlineSnapshot(`
      "The recipe was refused, nothing was launched: 2 problems
      - seed: too small: expected number to be >=0 — accepted: Seed of data order and evaluation samples
      - sead: unknown key — accepted: $schema, preset, name, seed, store, base, tokenizer, data, stages, tasks, evaluations, runtime, export, execution, cost"
    `);
  });
});
