/** `npm start` goes on with what its set-up has made already, and leaves nothing when the rest can't be made. */
import { execaNode } from 'execa';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processTable } from '../../infra/dev/stack/process-table.js';

const PROGRAM = fileURLToPath(new URL('set-up-program.ts', import.meta.url));

let folder: string;

/** Processes whose command line names the folder, but for the program itself. */
const ours = async () =>
  (await processTable()).filter(({ command }) => command.includes(folder) && !command.includes(PROGRAM));

const start = (how: 'late' | 'fails') =>
  execaNode(PROGRAM, [folder, how], {
    nodeOptions: ['--import', 'tsx'],
    env: { LONGHAUL_TEMPORAL_ADDRESS: '', LONGHAUL_S3_ENDPOINT: '', CI: 'true' },
    all: true,
    reject: false,
    stdin: 'ignore',
  });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-set-up-'));
});
afterEach(async () => {
  // What a failed test has left.
  for (const { pid } of await ours()) process.kill(pid, 'SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

describe('npm start beside a set-up that goes on', () => {
  it('has the Temporal UI up before there is an S3 server, and the rest when there is', async () => {
    const starting = start('late');
    starting.all.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('Ready.')) starting.kill('SIGINT');
    });
    const { all, exitCode } = await starting;
    expect(all).toMatch(/Temporal UI {2}http[^]*S3 {11}http[^]*A run begins when[^]*Ready\./);
    expect(exitCode).toBe(0);
    expect(await ours()).toEqual([]);
  });

  it('stops what it has started when the rest cannot be had, and says what', async () => {
    const { all, exitCode } = await start('fails');
    expect(all).toMatch(/Temporal UI {2}http[^]*set-up: the S3 server could not be obtained$/);
    expect(all).not.toContain('could not be started');
    expect(exitCode).toBe(1);
    expect(await ours()).toEqual([]);
  });

  it('ends at a Ctrl-C while it waits', async () => {
    const starting = start('fails');
    starting.all.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('Temporal UI')) starting.kill('SIGINT');
    });
    expect((await starting).exitCode).not.toBe(0);
    expect(await ours()).toEqual([]);
  });
});
