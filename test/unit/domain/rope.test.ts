import { describe, expect, it } from 'vitest';
import { parseRecipe } from '../../../src/domain/recipe/parse.js';
import {
  ScaledRopeError,
  bumpedConfig,
  ropeConfigSchema,
  ropeScalingOf,
  ropeThetaOf,
} from '../../../src/domain/walk/model-config.js';
import { ropeBump } from '../../../src/domain/walk/rope.js';
import { walk } from '../../../src/domain/walk/walk.js';

const change = {
  ...{ oldTheta: 5e5, newTheta: 8e6, oldLengthTokens: 8192, sequenceLengthTokens: 65_536, headWidth: 128 },
};
const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };

/** Configs by who wrote them, and how each says that RoPE is scaled. */
const SCALED: readonly (readonly [string, string, object])[] = [
  [
    'transformers 4.43 to 4.57',
    'llama3',
    { rope_theta: 5e5, rope_scaling: { rope_type: 'llama3', ...llama3 } },
  ],
  ['transformers 5', 'llama3', { rope_parameters: { rope_type: 'llama3', rope_theta: 5e5, ...llama3 } }],
  ['transformers before 4.43', 'linear', { rope_theta: 1e4, rope_scaling: { type: 'linear', factor: 2 } }],
  [
    'both forms',
    'yarn',
    { rope_scaling: { rope_type: 'yarn' }, rope_parameters: { rope_type: 'yarn', rope_theta: 1e4 } },
  ],
];
const PLAIN: readonly (readonly [string, object])[] = [
  ['transformers 4', { rope_theta: 5e5, rope_scaling: null }],
  ['transformers 5', { rope_parameters: { rope_type: 'default', rope_theta: 5e5 } }],
  ['Llama-2’s time', {}],
];
const rest = { max_position_embeddings: 8192, hidden_size: 64, vocab_size: 100 };

describe('a config says whether its RoPE is scaled', () => {
  it.each(SCALED)('%s: %s', (_, type, config) => {
    expect(ropeScalingOf(ropeConfigSchema.parse({ ...rest, ...config }))).toBe(type);
  });

  it.each(PLAIN)('%s: not', (_, config) => {
    expect(ropeScalingOf(ropeConfigSchema.parse({ ...rest, ...config }))).toBeNull();
  });

  it.each([[null], [[]], ['text'], [{}], [{ ...rest, rope_scaling: 1 }], [{ ...rest, rope_theta: 0 }]])(
    '%j is no config: what can’t be read is not taken for none',
    (value) => {
      expect(ropeConfigSchema.safeParse(value).success).toBe(false);
      expect(() => bumpedConfig(value, ropeBump(change))).toThrow();
    },
  );

  it('and its base, of which the newer form counts', () => {
    expect(ropeThetaOf({ rope_theta: 1, rope_parameters: { rope_theta: 2 } })).toBe(2);
    expect(ropeThetaOf({ rope_theta: 1, rope_parameters: { rope_type: 'default' } })).toBe(1);
    expect(ropeThetaOf({})).toBeUndefined();
  });
});

describe('a bump changes base and length, in the form of every loader, and nothing else', () => {
  it.each(PLAIN)('of a config of %s', (_, config) => {
    expect(bumpedConfig({ ...rest, ...config }, ropeBump(change))).toEqual({
      ...rest,
      ...config,
      max_position_embeddings: 65_536,
      rope_theta: 8e6,
      rope_parameters: { rope_type: 'default', rope_theta: 8e6 },
    });
  });

  it('in an order of keys that never changes: a repetition writes the same bytes', () => {
    const config = { hidden_size: 64, rope_scaling: null, rope_theta: 5e5, max_position_embeddings: 8192 };
    expect(JSON.stringify(bumpedConfig(config, ropeBump(change)))).toBe(
      '{"max_position_embeddings":65536,"rope_theta":8000000,"hidden_size":64,"rope_scaling":null,' +
        '"rope_parameters":{"rope_type":"default","rope_theta":8000000}}',
    );
  });

  it.each(SCALED)('refuses to leave a scaling in place (%s, %s)', (_, type, config) => {
    const bump = () => bumpedConfig({ ...rest, ...config }, ropeBump(change));
    expect(bump).toThrow(ScaledRopeError);
    expect(bump).toThrow(`scales RoPE (${type})`);
    expect(bump).toThrow('base.ropeScaling "drop"');
  });

  it.each(SCALED)('takes a scaling out where it is to be dropped (%s, %s)', (_, _type, config) => {
    const bumped = bumpedConfig({ ...rest, ...config }, ropeBump({ ...change, ropeScaling: 'drop' }));
    expect(ropeScalingOf(ropeConfigSchema.parse(bumped))).toBeNull();
    expect(bumped).toEqual({
      ...rest,
      max_position_embeddings: 65_536,
      rope_scaling: null,
      rope_theta: 8e6,
      rope_parameters: { rope_type: 'default', rope_theta: 8e6 },
    });
  });
});

describe('a recipe that drops the scaling does so in every bump', () => {
  const bumpsOf = (overrides: object) => {
    const parsed = parseRecipe({ preset: 'prolong-8b', ...overrides });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    return walk(parsed.recipe).flatMap((step) => (step.kind === 'rope-bump' ? [step.bump.ropeScaling] : []));
  };

  it('and one that says nothing in none', () => {
    expect(bumpsOf({ base: { ropeScaling: 'drop' } })).toEqual(['drop', 'drop']);
    expect(bumpsOf({})).toEqual([undefined, undefined]);
  });
});
