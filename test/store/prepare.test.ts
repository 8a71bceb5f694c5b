import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { z } from 'zod';
import { createPrepareActivities } from '../../activities/prepare/index.js';
import type { PreparedRun } from '../../activities/prepare/index.js';
import { ROOT } from '../../src/cli/environment.js';
import { digestSchema } from '../../src/contracts/index.js';
import { parseRecipe, recipeDigest } from '../../src/domain/recipe/parse.js';
import { describeBytes, publishModel } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import type { Recipe } from '../../src/domain/recipe/schema.js';
import { parseUrl } from '../../src/contracts/layout.js';
import { HungDisk } from '../support/hung-disk.js';
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
async function prepare(
  overrides: Readonly<Record<string, unknown>>,
  sources: Recipe['data']['sources'] = {},
  checkDeadlineMs?: number,
): Promise<PreparedRun> {
  const parsed = parseRecipe(overrides);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const { recipe } = parsed;
  const { prepareRun } = createPrepareActivities({
    store,
    rootUrl,
    roots: {
      project: ROOT,
      npm: join(ROOT, 'node_modules'),
      python: ROOT,
      interpreter: 'python3',
      allowed: [ROOT],
    },
    buckets: [parseUrl(rootUrl).bucket],
    modelsFolder,
    ...(checkDeadlineMs === undefined ? {} : { checkDeadlineMs }),
  });
  const names = { run: 'r', namespace: 'default', workflowId: 'r' };
  const input = {
    ...names,
    recipe: { ...recipe, data: { ...recipe.data, sources } },
    recipeDigest: digestSchema.parse(recipeDigest(recipe)),
  };
  return new MockActivityEnvironment().run(prepareRun, input);
}

/** A model folder at a prefix, with the manifest of its files; `unlisted` lies there besides. */
async function putFolder(
  url: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  unlisted: Readonly<Record<string, string | Uint8Array>> = {},
): Promise<void> {
  for (const [name, data] of Object.entries({ ...files, ...unlisted })) {
    await store.put(`${url}/${name}`, Buffer.from(data));
  }
  const listed = Object.entries(files).map(([name, data]) => describeBytes(name, Buffer.from(data)));
  const manifest = { schema: 'longhaul.model/1', files: listed, origin: 'a test' };
  await store.put(`${url}/manifest.json`, Buffer.from(JSON.stringify(manifest)));
}

/** The bundled model's files, some replaced or (null) left out. */
async function tinyFiles(changes: Readonly<Record<string, string | null>>) {
  const names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
  const files: Record<string, string | Uint8Array> = {};
  for (const name of names) files[name] = await readFile(join(modelsFolder, 'base-tiny', name));
  const changed: Record<string, string | Uint8Array | null> = { ...files, ...changes };
  return Object.fromEntries(
    Object.entries(changed).flatMap(([name, data]) => (data === null ? [] : [[name, data]])),
  );
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
    await putFolder(url, { 'tokenizer.json': JSON.stringify(more) });
    expect(await refusal(tokenizerAt(url))).toContain('its tokenizer.json has 2049');
  });
});

describe('sources are looked at before anything is launched', () => {
  it('and every problem is told with its path', async () => {
    const error: unknown = await prepare(
      {},
      {
        books: [
          { kind: 'text', folder: 'data/books', extensions: ['.txt'], join: 'file' },
          { kind: 'text', folder: 'data/nowhere', extensions: ['.txt'], join: 'file' },
        ],
        system: [{ kind: 'jsonl', files: ['/proc/kmsg'], textField: 'text' }],
        chats: [{ kind: 'chats', files: ['data/dictionaries/devils-dictionary.jsonl'] }],
      },
    ).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ApplicationFailure);
    const message = error instanceof Error ? error.message : '';
    expect(message).toContain('3 problems');
    expect(message).toContain('data.sources.books[1]: text source: there is no ');
    expect(message).toContain('data.sources.system[0]: jsonl source: /proc/kmsg is not below');
    expect(message).toContain('data.sources.chats[0]: no dialogue has an assistant turn');
  });

  it('and what can’t be looked through in time is a problem like any other', async () => {
    const disk = new HungDisk();
    vi.stubEnv('NODE_OPTIONS', disk.nodeOptions());
    onTestFinished(() => {
      vi.unstubAllEnvs();
      disk.answer();
    });
    const sources: Recipe['data']['sources'] = {
      books: [{ kind: 'text', folder: 'data/books', extensions: ['.txt'], join: 'file' }],
    };
    const error: unknown = await prepare({}, sources, 5_000).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ type: 'user-error', nonRetryable: true });
    expect(error).toHaveProperty('message', expect.stringContaining('data.sources: could not be looked'));
  });
});

describe('a recipe names no bucket that the worker does not let it name', () => {
  const url = 's3://someone-elses/prefix';

  it.each([
    ['store.url', { store: { url } }],
    ['base.model.url', { base: { model: { source: 's3', url } } }],
    ['tokenizer.url', tokenizerAt(url)],
  ])('%s', async (path, overrides) => {
    const message = await refusal(overrides);
    expect(message).toContain(`${path}: recipes may not name the bucket someone-elses`);
    expect(message).toContain('LONGHAUL_S3_BUCKETS');
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

  const basedOn = (url: string, base: object = {}) => ({ base: { model: { source: 's3', url }, ...base } });
  const index = (file: string) => JSON.stringify({ weight_map: { 'model.norm.weight': file } });

  it('is what its manifest lists, byte for byte', async () => {
    const url = `${rootUrl}/listed`;
    await putFolder(url, await tinyFiles({}));
    expect((await prepare(basedOn(url))).base.url).toBe(url);
    const config = await readFile(join(modelsFolder, 'base-tiny', 'config.json'), 'utf8');
    await store.put(`${url}/config.json`, Buffer.from(`${config} `));
    expect(await refusal(basedOn(url))).toContain("config.json: is not what the model's manifest.json says");
  });

  it('is refused where a file that is needed is there but not listed', async () => {
    const url = `${rootUrl}/unlisted`;
    const { 'tokenizer.json': tokenizer, ...files } = await tinyFiles({});
    if (tokenizer === undefined) throw new Error('no tokenizer');
    await putFolder(url, files, { 'tokenizer.json': tokenizer });
    expect(await refusal(basedOn(url))).toContain("tokenizer.json: is not in the model's manifest.json");
  });

  it.each([
    ['../elsewhere/model.safetensors'],
    ['/etc/model.safetensors'],
    ['unlisted.safetensors'],
    ['tokenizer.json'],
  ])('is refused where its index takes weights from %s', async (file) => {
    const url = `${rootUrl}/indexed`;
    const files = await tinyFiles({ 'model.safetensors': null, 'model.safetensors.index.json': index(file) });
    await putFolder(url, files, { 'unlisted.safetensors': 'weights' });
    expect(await refusal(basedOn(url))).toContain(
      `base.model: model.safetensors.index.json names files that are not among the model's own: "${file}"`,
    );
  });

  it.each([['{}'], ['not JSON'], ['{"weight_map": {}}']])(
    'is refused where its index is %s',
    async (text) => {
      const url = `${rootUrl}/unreadable`;
      const files = await tinyFiles({ 'model.safetensors': null, 'model.safetensors.index.json': text });
      await putFolder(url, files);
      expect(await refusal(basedOn(url))).toContain('has no weight_map');
    },
  );

  describe('that scales its RoPE', () => {
    const scalings: readonly (readonly [string, object])[] = [
      ['llama3', { rope_scaling: { rope_type: 'llama3', factor: 8 } }],
      ['linear', { rope_scaling: { type: 'linear', factor: 2 } }],
      ['yarn', { rope_parameters: { rope_type: 'yarn', rope_theta: 1e4, factor: 4 } }],
    ];

    it.each(scalings)(
      '(%s) is refused where its base changes, unless it drops that',
      async (type, scaled) => {
        const url = `${rootUrl}/scaled`;
        const config = z
          .looseObject({})
          .parse(JSON.parse(await readFile(join(modelsFolder, 'base-tiny', 'config.json'), 'utf8')));
        await putFolder(url, await tinyFiles({ 'config.json': JSON.stringify({ ...config, ...scaled }) }));
        const message = await refusal(basedOn(url));
        expect(message).toContain(`base.ropeScaling: the model’s config.json scales RoPE (${type})`);
        expect(message).toContain('stages.stage-1.ropeTheta');
        expect(message).toContain('evaluations.base-evaluation.targets.base-at-stage-1-theta.ropeTheta');
        expect((await prepare(basedOn(url, { ropeScaling: 'drop' }))).base.url).toBe(url);
      },
    );
  });
});
