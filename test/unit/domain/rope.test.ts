import { describe, expect, it } from 'vitest';
import { ScaledRopeError, bumpedConfig } from '../../../activities/rope-bump.js';
import { parseRecipe } from '../../../src/domain/recipe/parse.js';
import { ropeBump, ropeScalingOf } from '../../../src/domain/walk/rope.js';
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
    expect(ropeScalingOf(config)).toBe(type);
  });

  it.each(PLAIN)('%s: not', (_, config) => {
    expect(ropeScalingOf(config)).toBeNull();
  });

  it.each([[null], [[]], ['text'], [{ rope_scaling: 1 }]])('%j is no config', (value) => {
    expect(ropeScalingOf(value)).toBeNull();
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

  it.each(SCALED)('refuses to leave a scaling in place (%s, %s)', (_, type, config) => {
    const bump = () => bumpedConfig({ ...rest, ...config }, ropeBump(change));
    expect(bump).toThrow(ScaledRopeError);
    expect(bump).toThrow(`scales RoPE (${type})`);
    expect(bump).toThrow('base.ropeScaling "drop"');
  });

  it.each(SCALED)('takes a scaling out where it is to be dropped (%s, %s)', (_, _type, config) => {
    const bumped = bumpedConfig({ ...rest, ...config }, ropeBump({ ...change, ropeScaling: 'drop' }));
    expect(ropeScalingOf(bumped)).toBeNull();
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
