/**
 * `config.json` of a Llama model, as Hugging Face writes it: what is read of it, and what a RoPE bump changes about it. The rest is
 * kept as it is.
 */
import { z } from 'zod';
import type { RopeBump } from './rope.js';

const scaling = { rope_type: z.string().optional(), type: z.string().optional() };
const theta = z.number().positive().optional();

/** What a config says about RoPE, in the forms of every version of `transformers`. */
export const ropeConfigSchema = z.looseObject({
  max_position_embeddings: z.int().positive(),
  rope_theta: theta.describe('Before transformers 5'),
  rope_parameters: z
    .looseObject({ ...scaling, rope_theta: theta })
    .nullish()
    .describe('From transformers 5 on; counts before the others'),
  rope_scaling: z.looseObject(scaling).nullish().describe('Before transformers 5'),
});
export type RopeConfig = z.infer<typeof ropeConfigSchema>;

/** A whole config, as far as a recipe says something about it. */
export const modelConfigSchema = ropeConfigSchema.extend({
  num_hidden_layers: z.int(),
  hidden_size: z.int(),
  intermediate_size: z.int(),
  num_attention_heads: z.int(),
  num_key_value_heads: z.int(),
  vocab_size: z.int(),
  tie_word_embeddings: z.boolean().default(false),
});
export type ModelConfig = z.infer<typeof modelConfigSchema>;

/** The RoPE base; undefined: the config leaves it to its reader. */
export function ropeThetaOf(config: Pick<RopeConfig, 'rope_parameters' | 'rope_theta'>): number | undefined {
  return config.rope_parameters?.rope_theta ?? config.rope_theta;
}

/** How a config scales RoPE besides its base ("llama3", "yarn", "linear", …); null: it doesn't. */
export function ropeScalingOf(config: Pick<RopeConfig, 'rope_parameters' | 'rope_scaling'>): string | null {
  const places = [config.rope_scaling, config.rope_parameters];
  const types = places.map((place) => place?.rope_type ?? place?.type ?? 'default');
  return types.find((type) => type !== 'default') ?? null;
}

/** A bump that would leave a scaling of RoPE in place. */
export class ScaledRopeError extends Error {
  constructor(type: string) {
    super(
      `the config.json scales RoPE (${type}), which what dynamic NTK suggests for its base doesn't reckon with: base.ropeScaling "drop" takes the scaling out`,
    );
    this.name = 'ScaledRopeError';
  }
}

/** Keys that a bump writes, before all others: parsing sorts them so, and the order is part of the derived file's digest. */
const orderedSchema = z.looseObject({
  max_position_embeddings: ropeConfigSchema.shape.max_position_embeddings,
  rope_theta: theta,
  rope_parameters: z.looseObject({ rope_theta: theta }).nullish(),
});

/**
 * The config with its RoPE base and length changed, and without a scaling if the bump drops it. Both forms are written:
 * `rope_parameters` (transformers 5) and `rope_theta` (everything older), so that no loader falls back to a default base.
 * @throws ScaledRopeError when there is a scaling that the bump doesn't drop; ZodError when it is no config.
 */
export function bumpedConfig(
  config: unknown,
  bump: Pick<RopeBump, 'ropeScaling' | 'targetLengthTokens' | 'newTheta'>,
): Record<string, unknown> {
  const type = ropeScalingOf(ropeConfigSchema.parse(config));
  if (type !== null && bump.ropeScaling !== 'drop') throw new ScaledRopeError(type);
  const parsed = orderedSchema.parse(config);
  const parameters = type === null ? parsed.rope_parameters : {};
  return {
    ...parsed,
    ...(type === null ? {} : { rope_scaling: null }),
    max_position_embeddings: bump.targetLengthTokens,
    rope_theta: bump.newTheta,
    rope_parameters: { rope_type: 'default', ...parameters, rope_theta: bump.newTheta },
  };
}
