import { execaNode } from 'execa';
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startStack } from '../../../infra/dev/stack.js';
import { prepareFolder, StackError } from '../../../infra/dev/stack/folder.js';

const NOBODY = 65_534;
const FILES = ['stack.json', 'credentials.json', 'temporal.db', 'temporal.db-wal'];
const FOLDERS = ['s3', 'jobs', 'cache'];

let folder: string;
let data: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-folder-'));
  data = join(folder, 'data');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Does something without an administrator's rights. */
async function withoutRights<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return work();
  process.seteuid?.(NOBODY);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

/** What starting in the folder is refused with: sentences, without the names of errors or places in code. */
async function refusal(start: () => Promise<unknown>): Promise<string> {
  const error: unknown = await start().catch((reason: unknown) => reason);
  if (!(error instanceof StackError)) throw new Error('it was not refused in a sentence', { cause: error });
  expect(error.message).not.toMatch(/\bE[A-Z]{3,}\b|at .*:\d+|Error:/);
  return error.message;
}

describe('the data folder', () => {
  it('is its owner’s alone, also where an earlier version has made it for everybody', async () => {
    await mkdir(data, { mode: 0o755 });
    await chmod(data, 0o755);
    await prepareFolder(data, join(folder, 'logs'));
    expect((await stat(data)).mode & 0o777).toBe(0o700);
  });

  it.each(FILES)('is refused where a folder has the name of its file %s', async (name) => {
    await mkdir(join(data, name), { recursive: true });
    expect(await refusal(() => startStack({ dataDir: data }))).toBe(`${join(data, name)} is no file.`);
  });

  it.each(FOLDERS)('is refused where a file has the name of its folder %s', async (name) => {
    await mkdir(data);
    await writeFile(join(data, name), '');
    expect(await refusal(() => startStack({ dataDir: data }))).toBe(`${join(data, name)} is no folder.`);
  });

  it('is refused where it is a file itself', async () => {
    await writeFile(data, '');
    expect(await refusal(() => startStack({ dataDir: data }))).toMatch(`${data} can’t be used: `);
  });

  it('is refused where it can’t be made, or is another user’s', async () => {
    await chmod(folder, 0o555);
    expect(await withoutRights(() => refusal(() => startStack({ dataDir: data })))).toBe(
      `${data} can’t be used: permission denied (mkdir).`,
    );
  });

  it('is refused with every file in it that can’t be written, and whose they are', async () => {
    await mkdir(data);
    for (const name of FILES) await writeFile(join(data, name), '', { mode: 0o400 });
    for (const name of FOLDERS) await mkdir(join(data, name), { mode: 0o500 });
    if (process.getuid?.() === 0) for (const place of [folder, data]) await chown(place, NOBODY, NOBODY);
    const message = await withoutRights(() => refusal(() => startStack({ dataDir: data })));
    for (const name of [...FILES, ...FOLDERS])
      expect(message).toContain(`${join(data, name)} can’t be used: permission denied`);
    if (process.getuid?.() === 0) expect(message).toContain('It belongs to user 0.');
  });
});

describe('a command where no servers run', () => {
  const LONGHAUL = fileURLToPath(new URL('../../../bin/longhaul.mjs', import.meta.url));

  it.each([
    [{}, 'No servers run from this folder'],
    [{ LONGHAUL_S3_ENDPOINT: 'http://127.0.0.1:1' }, 'LONGHAUL_TEMPORAL_ADDRESS is not set'],
    [
      { LONGHAUL_TEMPORAL_ADDRESS: '127.0.0.1:1', TEMPORAL_API_KEY: 'key' },
      'TEMPORAL_API_KEY: would be sent to 127.0.0.1:1 in clear',
    ],
  ])('acts on no other project’s: %j', async (env, sentence) => {
    const { exitCode, stderr } = await execaNode(LONGHAUL, ['pause', 'a-run', '--reason', 'a test'], {
      env: { LONGHAUL_TEMPORAL_ADDRESS: '', LONGHAUL_S3_ENDPOINT: '', LONGHAUL_S3_BUCKET: '', ...env },
      reject: false,
    });
    expect(exitCode).toBe(1);
    expect(stderr).toContain(sentence);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});
