/** Checks of a recipe that need the object store or a file. Each says what is wrong and where, in the recipe's own terms. */
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { CurationError } from '../../src/curation/errors.js';
import { loadTokenizer } from '../../src/curation/tokens/tokenizer.js';
import type { Problem } from '../../src/domain/recipe/problem.js';
import type { Recipe } from '../../src/domain/recipe/schema.js';
import { modelConfigSchema, ropeScalingOf, ropeThetaOf } from '../../src/domain/walk/model-config.js';
import type { ModelConfig } from '../../src/domain/walk/model-config.js';
import { walk } from '../../src/domain/walk/walk.js';
import { isStoreError, translateError } from '../../src/store/errors.js';
import { parseUrl } from '../../src/contracts/layout.js';
import type { ObjectStore } from '../../src/store/object-store.js';

/** Every URL that a recipe names must lie in a bucket that the worker lets recipes name. */
export function checkBuckets(recipe: Recipe, buckets: readonly string[]): Problem[] {
  const { store, base, tokenizer } = recipe;
  const named = [
    { path: 'store.url', url: store?.url },
    { path: 'base.model.url', url: base.model.source === 's3' ? base.model.url : undefined },
    { path: 'tokenizer.url', url: tokenizer.source === 's3' ? tokenizer.url : undefined },
  ];
  return named.flatMap(({ path, url }) =>
    url === undefined || buckets.includes(parseUrl(url).bucket)
      ? []
      : [
          {
            path,
            message: `recipes may not name the bucket ${parseUrl(url).bucket}`,
            accepted: `${buckets.join(', ')}; LONGHAUL_S3_BUCKETS of the worker adds others`,
          },
        ],
  );
}

/** The bucket of a prefix must be there and readable with the worker's credentials. */
export async function checkBucket(store: ObjectStore, rootUrl: string): Promise<Problem[]> {
  const { bucket } = parseUrl(rootUrl);
  try {
    // Not HeadBucket, whose answer has no body: a proxy's 404 would look like the store's.
    await store.client.send(new ListObjectsV2Command({ Bucket: bucket, MaxKeys: 1 }));
    return [];
  } catch (cause) {
    const error = translateError(`s3://${bucket}`, cause);
    if (!isStoreError(error, 'access-denied', 'wrong-address', 'refused')) throw error;
    const message = `the bucket ${bucket} is not there, or the worker's credentials may not use it`;
    return [
      {
        path: 'store.url',
        message,
        accepted: 'a bucket that exists, with credentials in the worker’s environment',
      },
    ];
  }
}

/** The model's config must be what the recipe says it is, and its RoPE one that the recipe's bumps reckon with. */
export function checkConfig(json: Uint8Array, recipe: Recipe): Problem[] {
  const { base } = recipe;
  const parsed = modelConfigSchema.safeParse(parseJson(json));
  if (!parsed.success)
    return [{ path: 'base.model', message: 'its config.json is not that of a Llama model' }];
  const config = parsed.data;
  const { architecture } = base;
  const compared: readonly (readonly [string, unknown, unknown])[] = [
    ['architecture.layers', architecture.layers, config.num_hidden_layers],
    ['architecture.width', architecture.width, config.hidden_size],
    ['architecture.feedForwardWidth', architecture.feedForwardWidth, config.intermediate_size],
    ['architecture.heads', architecture.heads, config.num_attention_heads],
    ['architecture.keyValueHeads', architecture.keyValueHeads, config.num_key_value_heads],
    ['architecture.vocabularySize', architecture.vocabularySize, config.vocab_size],
    ['architecture.tiedEmbeddings', architecture.tiedEmbeddings, config.tie_word_embeddings],
    ['ropeTheta', base.ropeTheta, ropeThetaOf(config)],
    ['lengthTokens', base.lengthTokens, config.max_position_embeddings],
  ];
  const differences = compared
    .filter(([, said, is]) => said !== is)
    .map(([path, said, is]) => ({
      path: `base.${path}`,
      message: `the recipe says ${String(said)}, the model’s config.json ${String(is)}`,
      accepted: String(is),
    }));
  return [...differences, ...checkScaling(config, recipe)];
}

/** A scaling of RoPE stays where the base stays, and goes only if the recipe says so. */
function checkScaling(config: ModelConfig, recipe: Recipe): Problem[] {
  const scaling = ropeScalingOf(config);
  if (scaling === null || recipe.base.ropeScaling === 'drop') return [];
  const changes = basesChanged(recipe);
  if (changes.length === 0) return [];
  return [
    {
      path: 'base.ropeScaling',
      message: `the model’s config.json scales RoPE (${scaling}), and these change its base, for which dynamic NTK’s suggestion reckons with no scaling: ${changes.join(', ')}`,
      accepted:
        '"drop", which takes the scaling out where the base changes, or stages that keep base and length',
    },
  ];
}

/** Paths of what gives a model another RoPE base or length. */
function basesChanged(recipe: Recipe): string[] {
  return walk(recipe).flatMap((step) => {
    if (step.kind === 'rope-bump') return [`stages.${step.stage}.ropeTheta`];
    if (step.kind !== 'evaluation') return [];
    return step.targets
      .filter(({ ropeTheta }) => ropeTheta !== undefined)
      .map(({ name }) => `evaluations.${step.evaluation}.targets.${name}.ropeTheta`);
  });
}

/** The tokenizer must have the recipe's vocabulary, and Llama-3's special tokens. */
export function checkTokenizer(json: Uint8Array, recipe: Recipe): Problem[] {
  try {
    const { vocabularySize } = loadTokenizer(json);
    if (vocabularySize === recipe.tokenizer.vocabularySize) return [];
    const message = `the recipe says ${recipe.tokenizer.vocabularySize} tokens, its tokenizer.json has ${vocabularySize}`;
    return [
      { path: 'tokenizer.vocabularySize', message, accepted: 'the tokenizer the model was trained with' },
    ];
  } catch (error) {
    if (error instanceof CurationError) return [{ path: 'tokenizer', message: error.message }];
    throw error;
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
