import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createPrepareActivities } from '../../activities/prepare.js';
import type { PreparedRun } from '../../activities/prepare.js';
import { ROOT } from '../../src/cli/environment.js';
import { digestSchema } from '../../src/contracts/index.js';
import { parseRecipe, recipeDigest } from '../../src/domain/recipe.js';
import { publishModel } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
const modelsFolder = join(ROOT, 'models');
let store: ObjectStore;
let rootUrl: string;

beforeEach(() => {
  store = server.current.connect();
  rootUrl = freshPrefix();
});

/** Prepares a run of the tiny preset with overrides, and nothing curated from packages. */
async function prepare(overrides: Readonly<Record<string, unknown>>): Promise<PreparedRun> {
  const parsed = parseRecipe(overrides);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const { recipe } = parsed;
  const { prepareRun } = createPrepareActivities({
    store,
    rootUrl,
    roots: { project: ROOT, npm: join(ROOT, 'node_modules'), python: ROOT, interpreter: 'python3' },
    modelsFolder,
  });
  const names = { run: 'r', namespace: 'default', workflowId: 'r' };
  const input = {
    ...names,
    recipe: { ...recipe, data: { ...recipe.data, sources: {} } },
    recipeDigest: digestSchema.parse(recipeDigest(recipe)),
  };
  return new MockActivityEnvironment().run(prepareRun, input);
}

const refusal = async (overrides: Readonly<Record<string, unknown>>): Promise<string> => {
  const error: unknown = await prepare(overrides).catch((caught: unknown) => caught);
  if (!(error instanceof ApplicationFailure)) throw new Error(`not refused: ${String(error)}`);
  expect([error.type, error.nonRetryable]).toEqual(['user-error', true]);
  return error.message;
};

const tokenizerAt = (url: string) => ({ tokenizer: { source: 's3', url, vocabularySize: 2048 } });

describe('a run takes the tokenizer that its recipe names', () => {
  it('the base model’s, or one of its own in the object store', async () => {
    const bundled = await prepare({});
    expect(bundled.tokenizer).toEqual(bundled.base);
    const own = await publishModel(store, {
      rootUrl,
      name: 'own',
      folder: join(modelsFolder, 'base-tiny'),
      origin: 'a test',
    });
    rootUrl = freshPrefix();
    expect((await prepare(tokenizerAt(own.url))).tokenizer).toEqual(own);
  });

  it('refuses one that is not there, or not of the recipe’s vocabulary', async () => {
    expect(await refusal(tokenizerAt(`${rootUrl}/nowhere`))).toContain('tokenizer.url: ');
    const url = `${rootUrl}/small`;
    const json = z.looseObject({ added_tokens: z.array(z.unknown()) });
    const whole = json.parse(
      JSON.parse(await readFile(join(modelsFolder, 'base-tiny', 'tokenizer.json'), 'utf8')),
    );
    const more = { ...whole, added_tokens: [...whole.added_tokens, { id: 2048, content: '<|one-more|>' }] };
    await store.put(`${url}/manifest.json`, Buffer.from('{}'));
    await store.put(`${url}/tokenizer.json`, Buffer.from(JSON.stringify(more)));
    expect(await refusal(tokenizerAt(url))).toContain('its tokenizer.json has 2049');
  });
});

describe('a base model in the object store', () => {
  it('is refused without the manifest that names its files', async () => {
    const url = `${rootUrl}/plain`;
    for (const name of ['config.json', 'tokenizer.json']) {
      await store.put(`${url}/${name}`, await readFile(join(modelsFolder, 'base-tiny', name)));
    }
    const message = await refusal({ base: { model: { source: 's3', url } } });
    expect(message).toContain('base.model: ');
    expect(message).toContain('manifest.json');
  });
});
