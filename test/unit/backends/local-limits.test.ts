/** What a job of this machine gets of its worker, and how much of the machine it can take. */
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { LocalBackend } from '../../../src/backends/local/local.js';
import { EXIT_CODES } from '../../../src/contracts/index.js';

const MIB = 1024 * 1024;
let folder: string;
let backend: LocalBackend;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-limits-'));
  backend = new LocalBackend(join(folder, 'jobs'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const name of await backend.list()) await backend.terminate(name, 0);
  for (const name of await backend.list()) await ended(name);
  await rm(folder, { recursive: true, force: true });
});

const run = (code: string, graceSeconds = 5) =>
  backend.submit({ name: 'a', command: [process.execPath, '-e', code], environment: {}, graceSeconds });

async function ended(name = 'a'): Promise<void> {
  while ((await backend.observe(name)).state !== 'ended') await sleep(20);
}

describe('of its worker’s environment a job inherits what is on a list', () => {
  it('the store’s credentials and its own settings, and no key or token of anything else', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'the store’s');
    vi.stubEnv('LONGHAUL_SETTING', 'its own');
    vi.stubEnv('https_proxy', 'http://proxy');
    for (const name of [
      'TEMPORAL_API_KEY',
      'GITHUB_TOKEN',
      'HF_TOKEN',
      'DATABASE_URL',
      'KUBECONFIG',
      'SECRET',
    ])
      vi.stubEnv(name, 'a secret');
    await run('console.log(JSON.stringify(process.env))');
    await ended();
    const [line = ''] = await backend.logs('a', 1);
    const environment = z.record(z.string(), z.string()).parse(JSON.parse(line));
    expect(environment).toMatchObject({
      AWS_ACCESS_KEY_ID: 'the store’s',
      LONGHAUL_SETTING: 'its own',
      https_proxy: 'http://proxy',
      PATH: process.env['PATH'],
    });
    expect(Object.values(environment)).not.toContain('a secret');
  });
});

describe('a job’s log takes a bounded part of the disk', () => {
  it('keeps the beginning and the end of what was too much', async () => {
    const line = 'x'.repeat(99);
    await run(`
      const { writeSync } = require('node:fs');
      writeSync(1, 'the first line\\n');
      for (let block = 0; block < 60; block += 1) writeSync(1, ${JSON.stringify(`${line}\n`)}.repeat(10486));
      writeSync(1, 'the last line\\n');
    `);
    await ended();
    const files = await readdir(join(folder, 'jobs', 'a'));
    const sizes = await Promise.all(
      files.map(async (file) => (await stat(join(folder, 'jobs', 'a', file))).size),
    );
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(20 * MIB);
    expect((await backend.logs('a', 1)).at(-1)).toBe('the last line');
    expect(await readFile(join(folder, 'jobs', 'a', 'log.head.txt'), 'utf8')).toMatch(/^the first line\n/);
  });
});

describe('logs of jobs that have ended', () => {
  const print = (name: string) =>
    backend.submit({
      name,
      command: [process.execPath, '-e', 'console.log("x".repeat(99_999))'],
      environment: {},
      graceSeconds: 0,
    });
  const logged = async () => {
    const names = await backend.list();
    const lengths = await Promise.all(names.map(async (name) => (await backend.logs(name, 1)).length));
    return names.filter((_, index) => (lengths[index] ?? 0) > 0);
  };

  it('go, oldest end first, until the rest is small enough; what ran and how it ended stays', async () => {
    backend = new LocalBackend(join(folder, 'jobs'), { maxLogBytes: 250_000, keepLogsMs: 0 });
    await run('console.log("x".repeat(99_999)); setInterval(() => {}, 1e3)');
    while ((await backend.logs('a', 1)).length === 0) await sleep(20);
    for (const name of ['d', 'c', 'b']) {
      await print(name);
      await ended(name);
    }
    await backend.pruneLogs();
    expect(await logged()).toEqual(['a', 'b']);
    expect(await backend.list()).toEqual(['a', 'b', 'c', 'd']);
    expect(await backend.observe('a')).toMatchObject({ state: 'running' });
    for (const name of ['b', 'c', 'd']) {
      expect(await backend.observe(name)).toMatchObject({ state: 'ended', exitCode: 0 });
      expect(await print(name)).toBe('adopted');
    }
  });

  it('stay for a while, whatever their size', async () => {
    backend = new LocalBackend(join(folder, 'jobs'), { maxLogBytes: 1 });
    await print('b');
    await ended('b');
    await backend.pruneLogs();
    expect(await logged()).toEqual(['b']);
  });
});

describe('a disk without room for the log', () => {
  /** Every write to the job's log is answered as a full disk does. */
  async function fillDisk(): Promise<void> {
    await mkdir(join(folder, 'jobs', 'a'), { recursive: true });
    await symlink('/dev/full', join(folder, 'jobs', 'a', 'log.txt'));
  }

  it('ends no trainer in another way than it would have ended', async () => {
    await fillDisk();
    const root = join(import.meta.dirname, '../../..');
    const python = process.env['LONGHAUL_TRAINER_PYTHON'] ?? join(root, '.longhaul/venv/bin/python');
    const environment = { PYTHONPATH: join(root, 'infra/trainer') };
    const command = [python, '-m', 'longhaul_trainer'] as const;
    await backend.submit({ name: 'a', command, environment, graceSeconds: 1 });
    await ended();
    expect(await backend.observe('a')).toMatchObject({ exitCode: EXIT_CODES['user-error'] });
  });

  it('hides no end, not even of a job that could not be started', async () => {
    await fillDisk();
    await backend.submit({ name: 'a', command: ['/no/such/program'], environment: {}, graceSeconds: 1 });
    await ended();
    expect(await backend.observe('a')).toMatchObject({ exitCode: 127 });
  });
});

describe('of a number of jobs at the same time', () => {
  const WAITING = 'setInterval(() => {}, 1e3)';
  const few = () => new LocalBackend(join(folder, 'jobs'), { maxJobs: 2 });
  const submit = (to: LocalBackend, name: string) =>
    to.submit({ name, command: [process.execPath, '-e', WAITING], environment: {}, graceSeconds: 0 });

  it('one more is not started, however many ask at once, and is when another has ended', async () => {
    backend = few();
    const names = ['a', 'b', 'c', 'd', 'e'];
    expect(await Promise.all(names.map((name) => submit(backend, name)))).toEqual([
      ...['started', 'started', 'full', 'full', 'full'],
    ]);
    expect(await backend.observe('c')).toEqual({ state: 'absent' });
    await backend.terminate('a', 0);
    await ended('a');
    expect(await submit(backend, 'c')).toBe('started');
    expect(await submit(backend, 'd')).toBe('full');
  });

  it('those that run or have ended are adopted all the same, by whichever worker', async () => {
    for (const name of ['a', 'b']) await submit(few(), name);
    expect(await submit(few(), 'a')).toBe('adopted');
    expect(await submit(few(), 'c')).toBe('full');
  });
});

describe('a grace longer than a timer can run is long, not none', () => {
  it('leaves a job that saves the time to do so', async () => {
    await run(
      'process.on("SIGTERM", () => setTimeout(() => process.exit(75), 500)); console.log("up"); setInterval(() => {}, 1e3)',
      3e6,
    );
    while (!(await backend.logs('a', 1)).includes('up')) await sleep(20);
    await backend.terminate('a', 3e6);
    await ended();
    expect(await backend.observe('a')).toMatchObject({ exitCode: 75 });
  });
});
