/** The RoPE bump: a durable step that derives the config a stage trains with, and records why it is as it is. */
import { ApplicationFailure } from '@temporalio/activity';
import type { Digest } from '../src/contracts/index.js';
import { ScaledRopeError, bumpedConfig } from '../src/domain/walk/model-config.js';
import { ropeBumpSchema } from '../src/domain/walk/rope.js';
import type { RopeBump } from '../src/domain/walk/rope.js';
import { sha256 } from '../src/store/digest.js';
import { stageLayout } from '../src/contracts/layout.js';
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
