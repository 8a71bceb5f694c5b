import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { downloadModel, publishModel, readModelManifest, verifyModel } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { flipBit, freshPrefix, useS3Server } from './support.js';

const server = useS3Server();
let store: ObjectStore;
let scratch: string;
let folder: string;
let rootUrl: string;

const MODEL = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
const OTHERS = [
  'PROVENANCE.json',
  'README.md',
  'manifest.json',
  'phases.json',
  'set-aside.txt',
  '.model.safetensors.swp',
  '.safetensors',
];

beforeEach(async () => {
  store = server.current.connect();
  rootUrl = freshPrefix();
  scratch = await mkdtemp(path.join(tmpdir(), 'longhaul-model-'));
  folder = path.join(scratch, 'model');
  await mkdir(folder);
  for (const name of [...MODEL, ...OTHERS]) await writeFile(path.join(folder, name), `contents of ${name}`);
});

afterEach(async () => {
  await rm(scratch, { recursive: true });
});

const publish = (from = folder) =>
  publishModel(store, { rootUrl, name: 'tiny', folder: from, origin: 'base' });

describe('a published model is named by what it is', () => {
  it('holds the model’s own files and nothing else that lies beside them', async () => {
    const ref = await publish();
    const { files } = await readModelManifest(store, ref);
    expect(files.map((file) => file.path)).toEqual(MODEL);
    for (const name of OTHERS.filter((name) => name !== 'manifest.json')) {
      expect(await store.exists(`${ref.url}/${name}`)).toBe(false);
    }
  });

  it.each([
    'generation_config.json',
    'special_tokens_map.json',
    'chat_template.jinja',
    'model.safetensors.index.json',
  ])('holds %s where there is one', async (name) => {
    await writeFile(path.join(folder, name), '{}');
    const { files } = await readModelManifest(store, await publish());
    expect(files.map((file) => file.path)).toContain(name);
  });

  it('is the same when it is published again, from wherever it lies', async () => {
    const ref = await publish();
    const copy = path.join(scratch, 'copy');
    await cp(folder, copy, { recursive: true });
    await writeFile(path.join(copy, 'README.md'), 'another text about the same model');
    expect(await publish(copy)).toEqual(ref);
  });

  it('is another one when a byte of it is another', async () => {
    const ref = await publish();
    await flipBit(path.join(folder, 'model.safetensors'));
    expect(await publish()).not.toEqual(ref);
  });

  it.each([
    ['../model-00001.safetensors'],
    ['/tmp/model-00001.safetensors'],
    ['model-00002.safetensors'],
    ['README.md'],
  ])('is refused where its index takes weights from %s', async (file) => {
    await rm(path.join(folder, 'model.safetensors'));
    await writeFile(path.join(folder, 'model-00001.safetensors'), 'weights');
    const index = { weight_map: { a: 'model-00001.safetensors', b: file } };
    await writeFile(path.join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
    await expect(publish()).rejects.toThrow(`not among the model's own: ${JSON.stringify(file)}`);
  });

  it.each(['config.json', 'model.safetensors'])('is refused without %s', async (name) => {
    await rm(path.join(folder, name));
    await expect(publish()).rejects.toThrow('is no model: it needs config.json and *.safetensors');
  });
});

describe('a downloaded model is what was published', () => {
  it('down to the byte', async () => {
    const target = path.join(scratch, 'target');
    await mkdir(target);
    await downloadModel(store, await publish(), target);
    expect((await readdir(target)).sort()).toEqual(MODEL);
    for (const name of MODEL) {
      expect(await readFile(path.join(target, name))).toEqual(await readFile(path.join(folder, name)));
    }
  });

  it('or refused, where the store holds something else', async () => {
    const ref = await publish();
    await flipBit(server.current.fileOf(`${ref.url}/model.safetensors`));
    await expect(downloadModel(store, ref, scratch)).rejects.toMatchObject({ code: 'invalid-object' });
    await expect(verifyModel(store, ref, 'audited')).rejects.toThrow('model.safetensors');
  });

  it('or refused, where its manifest is another', async () => {
    const ref = await publish();
    await store.put(`${ref.url}/manifest.json`, Buffer.from('{}'));
    await expect(readModelManifest(store, ref)).rejects.toMatchObject({ code: 'invalid-object' });
  });

  it('and publishing again does not vouch for files that are gone', async () => {
    const ref = await publish();
    await rm(server.current.fileOf(`${ref.url}/model.safetensors`));
    await expect(publish()).rejects.toThrow('model.safetensors is gone');
  });
});
