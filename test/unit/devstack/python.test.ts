import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { installInto, wantsOwnUv } from '../../../infra/dev/lib/installers.mjs';
import type { Interpreter } from '../../../infra/dev/lib/installers.mjs';
import { run } from '../../../infra/dev/lib/processes.mjs';
import { torchSource } from '../../../infra/dev/lib/torch.mjs';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'longhaul-python-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Puts a program into the folder. */
async function program(name: string, ...lines: string[]): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, ['#!/bin/sh', ...lines].join('\n'));
  await chmod(file, 0o755);
  return file;
}

const pythonOf = (file: string): Interpreter => ({ file, version: '3.11.0', canMakeEnvironments: true });

describe('where PyTorch comes from', () => {
  const INDEX = 'https://index.example/cpu';

  it.each([
    ['linux-x64', false, {}, undefined, /LONGHAUL_TORCH_INDEX=https.*CPU build/],
    ['linux-arm64', false, {}, undefined, /no NVIDIA device is seen/],
    ['linux-x64', true, {}, undefined, /GB on disk$/],
    ['darwin-arm64', false, {}, undefined, /GB on disk$/],
    ['linux-x64', false, { LONGHAUL_TORCH_INDEX: INDEX }, INDEX, /PyTorch from LONGHAUL_TORCH_INDEX/],
    ['linux-x64', true, { LONGHAUL_TORCH_INDEX: INDEX }, INDEX, /PyTorch from LONGHAUL_TORCH_INDEX/],
  ])('on %s, with an NVIDIA device: %s, told %j, is index %s', (platform, seesNvidia, env, index, note) => {
    const source = torchSource(env, { platform, seesNvidia });
    expect(source.index).toBe(index);
    expect(source.notes.at(-1)).toMatch(note);
  });
});

describe('a uv of our own', () => {
  const config = (...lines: string[]) => lines.map((line) => `echo "${line}"`);

  it.each([
    ['where pip is told nothing', [], {}, true],
    ['where pip is told of certificates', [":env:.cert='/etc/ca.pem'"], {}, true],
    ['not where pip has another index', ["global.index-url='https://mirror.example'"], {}, false],
    ['not where pip goes through a proxy', ["global.proxy='http://proxy.example'"], {}, false],
    ['not where the environment names an index', [], { PIP_INDEX_URL: 'https://mirror.example' }, false],
  ])('is wanted %s', async (_where, lines, env, wanted) => {
    const python = await program('python', ...config(...lines));
    expect(await wantsOwnUv(pythonOf(python), { PATH: '/nowhere', ...env })).toBe(wanted);
  });

  it('is wanted where there is no pip to ask', async () => {
    expect(await wantsOwnUv(pythonOf(await program('python', 'exit 1')), { PATH: '/nowhere' })).toBe(true);
  });

  it('is not wanted where there is one', async () => {
    await program('uv', 'exit 1');
    expect(await wantsOwnUv(pythonOf('/bin/true'), { PATH: folder })).toBe(false);
  });

  it('leaves its cache nowhere, and pip does what it could not', async () => {
    const cache = path.join(folder, 'cache-was');
    const uv = await program('own-uv', `mkdir -p "$UV_CACHE_DIR"; echo "$UV_CACHE_DIR" > ${cache}; exit 1`);
    const environment = path.join(folder, 'environment');
    const python = await program(
      'python',
      'for last; do :; done; mkdir -p "$last/bin"; ln -s /bin/true "$last/bin/python"',
    );
    const how = await installInto(environment, (call) => [[...call, 'something']], {
      ...{ python: pythonOf(python), uv, logFile: path.join(folder, 'log') },
      env: { PATH: '/usr/bin:/bin' },
    });
    expect(how).toBe('pip');
    const was = (await readFile(cache, 'utf8')).trim();
    expect(path.dirname(was)).toBe(folder);
    expect(await readdir(folder)).not.toContain(path.basename(was));
  });
});

describe('a program that is run', () => {
  it('is ended by the signal', async () => {
    await mkdir(path.join(folder, 'logs'));
    const stop = new AbortController();
    const running = run('sleep', ['1000'], { signal: stop.signal });
    stop.abort();
    expect((await running).code).toBe(130);
    expect((await run('sleep', ['1000'], { signal: stop.signal })).code).toBe(130);
  });
});
