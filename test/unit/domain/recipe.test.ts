import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PRESETS, TINY_SMOKE } from '../../../src/domain/recipe/presets/index.js';
import { recipeNotices } from '../../../src/domain/recipe/checks.js';
import { parseRecipe, parseResolvedRecipe, recipeDigest, stepsOf } from '../../../src/domain/recipe/parse.js';
import { present, problemsOf, resolve } from './support.js';

describe('a recipe is a preset with overrides', () => {
  it('means the tiny preset when it is empty or not given', () => {
    expect(resolve({}).preset).toBe('tiny');
    expect(resolve(undefined)).toEqual(resolve({ preset: 'tiny' }));
  });

  it.each(Object.keys(PRESETS))('accepts the preset %s as it is, with whole numbers of rows', (preset) => {
    expect(recipeNotices(resolve({ preset }))).toEqual([]);
  });

  it('accepts the variant of tiny that takes seconds', () => {
    const smoke = resolve(TINY_SMOKE);
    expect(Object.values(smoke.stages).map(stepsOf)).toEqual([2, 2, 1]);
    expect(Object.keys(smoke.evaluations)).toEqual(Object.keys(resolve({}).evaluations));
  });

  it('changes one number of one stage and nothing else', () => {
    const tiny = resolve({});
    const changed = resolve({ stages: { 'stage-1': { steps: 3 } } });
    const stage = present(tiny.stages['stage-1']);
    expect(changed).toEqual({
      ...tiny,
      stages: { ...tiny.stages, 'stage-1': { ...stage, tokens: 3 * 8_192 } },
    });
  });

  it('replaces lists as a whole', () => {
    const mix = [{ domain: 'books', lengthTokens: null, share: 1 }];
    expect(resolve({ stages: { 'stage-1': { mix } } }).stages['stage-1']?.mix).toEqual(mix);
  });

  it('removes what is null', () => {
    const recipe = resolve({
      stages: { sft: null },
      evaluations: { evaluation: { targets: { sft: null } } },
    });
    expect(Object.keys(recipe.stages)).toEqual(['stage-1', 'stage-2']);
  });

  it('replaces a variant by another instead of mixing their fields', () => {
    const model = { source: 's3', url: 's3://bucket/model' };
    expect(resolve({ base: { model } }).base.model).toEqual(model);
  });

  it('makes a branch of a stage that is like another, the overrides of that one included', () => {
    const { stages } = resolve({
      stages: {
        'stage-1': { schedule: { peak: 2e-3 } },
        more: { like: 'stage-1', from: 'stage-1', moments: 'carry', steps: 5 },
      },
    });
    expect(stages['more']).toEqual({
      ...stages['stage-1'],
      from: 'stage-1',
      moments: 'carry',
      tokens: 5 * 8_192,
    });
  });

  it('lets a stage be like one that the recipe removes', () => {
    const { stages } = resolve({
      stages: { last: { like: 'sft' }, sft: null },
      evaluations: { evaluation: { targets: { sft: null } } },
    });
    expect(stages['last']?.objective).toBe('masked-tokens');
  });

  it('ignores the key that tells editors the schema', () => {
    expect(resolve({ $schema: 'recipe.schema.json' })).toEqual(resolve({}));
  });
});

describe('lengths and token counts have one reading', () => {
  const lengthOf = (sequenceLengthTokens: unknown) =>
    parseRecipe({ stages: { sft: { sequenceLengthTokens } } });

  it.each([
    ['1K', 1024],
    [1024, 1024],
    ['2048', 2048],
  ])('reads the length %s as %i', (written, tokens) => {
    const parsed = lengthOf(written);
    expect(parsed.ok && parsed.recipe.stages['sft']?.sequenceLengthTokens).toBe(tokens);
  });

  it.each([['1k'], ['1.5K'], [0], [-4], [10.5], ['64 K'], [''], [null]])(
    'refuses the length %j',
    (written) => {
      expect(lengthOf(written).ok).toBe(false);
    },
  );

  it.each([
    ['decimal', 4096 * 244_140_625],
    ['binary', 1000 * 2 ** 30],
  ] as const)('reads a thousand %s billions', (unit, tokens) => {
    const stage = { tokens: { billions: 1000, unit }, globalBatchTokens: 4096, sequenceLengthTokens: 4096 };
    expect(resolve({ stages: { 'stage-2': stage } }).stages['stage-2']?.tokens).toBe(tokens);
  });

  it('refuses "20B" and says how to write it', () => {
    const [problem] = problemsOf({ preset: 'prolong-8b', stages: { 'stage-1': { tokens: '20B' } } });
    expect(problem?.path).toBe('stages.stage-1.tokens');
    expect(problem?.message).toContain('{"billions": 20, "unit": "binary"}');
  });
});

describe('the resolved recipe is its own identity', () => {
  it('is parsed again from its frozen form without change', () => {
    for (const input of [{}, { preset: 'prolong-8b' }, TINY_SMOKE]) {
      const recipe = resolve(input);
      expect(parseResolvedRecipe(JSON.parse(JSON.stringify(recipe)))).toEqual({ ok: true, recipe });
    }
  });

  it('has a digest that does not depend on how it was written', () => {
    const digest = recipeDigest(resolve({}));
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(recipeDigest(resolve({ stages: { 'stage-1': { sequenceLengthTokens: '1K', steps: 100 } } }))).toBe(
      digest,
    );
    expect(recipeDigest(resolve({ seed: 43 }))).not.toBe(digest);
  });

  it('checks a frozen recipe across its fields too', () => {
    const recipe = resolve({});
    const broken = { ...recipe, tokenizer: { source: 'base', vocabularySize: 7 } };
    const parsed = parseResolvedRecipe(broken);
    expect(parsed.ok ? [] : parsed.problems.map(({ path }) => path)).toEqual(['tokenizer.vocabularySize']);
  });
});

describe('properties of merging', () => {
  const names = fc.constantFrom('stage-1', 'stage-2', 'sft');
  const overrides = fc.record(
    {
      seed: fc.nat(0xffff_ffff),
      name: fc.stringMatching(/^[a-z]{1,9}(-[a-z0-9]{1,9})?$/),
      stages: fc.dictionary(
        names,
        fc.record({ steps: fc.integer({ min: 1, max: 500 }) }, { requiredKeys: [] }),
      ),
      cost: fc.record({ gpus: fc.integer({ min: 1, max: 4096 }) }),
    },
    { requiredKeys: [] },
  );

  it('is decided by the overrides alone, whatever the order of their keys', () => {
    fc.assert(
      fc.property(overrides, (written) => {
        const reversed = Object.fromEntries(Object.entries(written).reverse());
        expect(recipeDigest(resolve(reversed))).toBe(recipeDigest(resolve(written)));
      }),
      { numRuns: 25 },
    );
  });

  it('takes a resolved recipe as overrides of its own preset without change', () => {
    fc.assert(
      fc.property(overrides, (written) => {
        const recipe = resolve(written);
        expect(resolve(JSON.parse(JSON.stringify(recipe)))).toEqual(recipe);
      }),
      { numRuns: 25 },
    );
  });

  it('never throws, whatever JSON it is given, and says something whenever it refuses', () => {
    const json = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(fc.constantFrom(...Object.keys(resolve({}))), fc.jsonValue()),
    );
    fc.assert(
      fc.property(json, (input) => {
        const parsed = parseRecipe(input);
        expect(parsed.ok || parsed.problems.length > 0).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});
