/** The RoPE bump: a durable step that derives the config a stage trains with, and records why it is as it is. */
import { ApplicationFailure } from '@temporalio/activity';
import { z } from 'zod';
import type { Digest } from '../src/contracts/index.js';
import { ropeBumpSchema, ropeScalingOf } from '../src/domain/walk/rope.js';
import type { RopeBump } from '../src/domain/walk/rope.js';
import { sha256 } from '../src/store/digest.js';
import { stageLayout } from '../src/store/layout.js';
import { encodeJson } from '../src/store/object-store.js';
import type { ObjectStore } from '../src/store/object-store.js';
import { heartbeating } from './lib/heartbeating.js';

/** A model's config.json, by content. */
export interface ConfigRef {
  readonly url: string;
  readonly digest: Digest;
}

/** What to change about which config. */
export interface RopeBumpInput {
  /** Prefix of the bump's folder. */
  readonly stageUrl: string;
  readonly config: ConfigRef;
  readonly bump: RopeBump;
}

/** `config.json` as Hugging Face writes it: what is changed here is typed, the rest is kept as it is. */
const configSchema = z.looseObject({
  max_position_embeddings: z.int().positive(),
  rope_theta: z.number().positive().optional(),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().optional() }).nullish(),
});

/** A bump that would leave a scaling of RoPE in place. */
export class ScaledRopeError extends Error {
  constructor(scaling: string) {
    super(
      `the config.json scales RoPE (${scaling}), which what dynamic NTK suggests for its base doesn't reckon with: base.ropeScaling "drop" takes the scaling out`,
    );
    this.name = 'ScaledRopeError';
  }
}

/**
 * The config with its RoPE base and length changed, and without a scaling if the bump drops it. Both forms are written:
 * `rope_parameters` (transformers 5) and `rope_theta` (everything older), so that no loader falls back to a default base.
 * @throws ScaledRopeError when there is a scaling that the bump doesn't drop.
 */
export function bumpedConfig(config: unknown, bump: RopeBump): Record<string, unknown> {
  const scaling = ropeScalingOf(config);
  if (scaling !== null && bump.ropeScaling !== 'drop') throw new ScaledRopeError(scaling);
  const parsed = configSchema.parse(config);
  const parameters = scaling === null ? parsed.rope_parameters : {};
  return {
    ...parsed,
    ...(scaling === null ? {} : { rope_scaling: null }),
    max_position_embeddings: bump.targetLengthTokens,
    rope_theta: bump.newTheta,
    rope_parameters: { rope_type: 'default', ...parameters, rope_theta: bump.newTheta },
  };
}

/** The activities of this file. */
export type RopeBumpActivities = ReturnType<typeof createRopeBumpActivities>;

/** Creates the activities. */
export function createRopeBumpActivities({ store }: { readonly store: ObjectStore }) {
  return {
    /** Writes `config.json` and `bump.json`. The same input writes the same bytes, so a repetition changes nothing. */
    bumpRopeBase: (input: RopeBumpInput): Promise<ConfigRef> =>
      heartbeating(() => bumpRopeBase(store, input)),
  };
}

async function bumpRopeBase(
  store: ObjectStore,
  { stageUrl, config, bump }: RopeBumpInput,
): Promise<ConfigRef> {
  const urls = stageLayout(stageUrl);
  const original: unknown = JSON.parse(
    new TextDecoder().decode(await store.getVerified(config.url, config.digest)),
  );
  const derived = encodeJson(bumped(original, bump));
  await store.create(urls.config, derived);
  await store.create(urls.bump, encodeJson(ropeBumpSchema.parse(bump)));
  return { url: urls.config, digest: sha256(derived) };
}

function bumped(config: unknown, bump: RopeBump): Record<string, unknown> {
  try {
    return bumpedConfig(config, bump);
  } catch (error) {
    if (!(error instanceof ScaledRopeError)) throw error;
    throw ApplicationFailure.create({ type: 'user-error', nonRetryable: true, message: error.message });
  }
}
