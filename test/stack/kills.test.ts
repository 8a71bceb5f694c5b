/** However `npm start` ends, nothing runs on that the next one does not find, and nothing at all once that has ended. */
import { execaNode } from 'execa';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { processTable } from '../../infra/dev/stack/process-table.js';
import { runningServers } from '../../infra/dev/stack/running.js';
import { LocalBackend } from '../../src/backends/local/local.js';
import { uniform } from '../../src/drill/schedule.js';
import { RUNS_MS } from '../support/patience.js';

const PROGRAM = fileURLToPath(new URL('start-program.ts', import.meta.url));
const seed = Number(process.env['KILLS_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const KILLS = 6;
/** From the first moment of a start until after it is ready. */
const LONGEST_MS = 8000;

let folder: string;
let started: { kill(signal: 'SIGKILL'): boolean }[];

beforeAll(() => console.log(`KILLS_SEED=${seed}`));
beforeEach(async () => {
  started = [];
  folder = await mkdtemp(join(tmpdir(), 'longhaul-kills-'));
});
afterEach(async () => {
  for (const one of started) one.kill('SIGKILL');
  // What a failed test has left.
  for (const { pid } of await ours()) process.kill(pid, 'SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

const start = () => {
  const running = execaNode(PROGRAM, [folder], {
    nodeOptions: ['--import', 'tsx'],
    env: { LONGHAUL_TEMPORAL_ADDRESS: '', LONGHAUL_S3_ENDPOINT: '', CI: 'true' },
    all: true,
    reject: false,
    stdin: 'ignore',
  });
  started.push(running);
  return running;
};
type Start = ReturnType<typeof start>;

/** Processes whose command line names the folder, but for the program itself. */
const ours = async () =>
  (await processTable()).filter(({ command }) => command.includes(folder) && !command.includes(PROGRAM));

async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await check())) await sleep(50);
}

const ready = (running: Start) =>
  new Promise<void>((resolve, reject) => {
    running.all.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('Ready.')) resolve();
    });
    void running.then(({ all }) => reject(new Error(`it ended before it was ready: ${all}`)));
  });

/** A job that would go on for long. */
async function leaveJob(name: string): Promise<void> {
  await new LocalBackend(join(folder, 'data', 'jobs')).submit({
    name,
    command: ['sleep', '100000'],
    environment: {},
    graceSeconds: 1,
  });
}

const jobRuns = async (name: string) =>
  (await new LocalBackend(join(folder, 'data', 'jobs')).observe(name)).state === 'running';

describe('npm start', () => {
  it('ends all that it has started at a Ctrl-C', async () => {
    const running = start();
    await ready(running);
    expect((await ours()).length).toBeGreaterThanOrEqual(3);
    await leaveJob('left');
    running.kill('SIGINT');
    expect((await running).exitCode).toBe(0);
    expect(await ours()).toEqual([]);
    expect(await jobRuns('left')).toBe(false);
  });

  it('takes what npm passes on for the same Ctrl-C, and does not wait after a second one', async () => {
    const running = start();
    await ready(running);
    running.kill('SIGINT');
    running.kill('SIGINT');
    await sleep(600);
    running.kill('SIGINT');
    expect((await running).exitCode).toBe(0);
    expect(await ours()).toEqual([]);
  });

  it('ends what it has started when it is interrupted before it is ready', async () => {
    const running = start();
    await until(async () => (await ours()).length > 0);
    running.kill('SIGINT');
    await running;
    expect(await ours()).toEqual([]);
  });

  it('leaves no worker behind when it is killed, and the next one takes its servers over', async () => {
    const first = start();
    await ready(first);
    const servers = (await ours()).filter(({ command }) => !command.includes('worker.ts'));
    await leaveJob('left');
    first.kill('SIGKILL');
    await until(async () => (await ours()).every(({ command }) => !command.includes('worker.ts')));
    const second = start();
    await ready(second);
    const pids = (await ours()).map(({ pid }) => pid);
    for (const { pid } of servers) expect(pids).toContain(pid);
    second.kill('SIGINT');
    await second;
    expect(await ours()).toEqual([]);
    expect(await jobRuns('left')).toBe(false);
  });

  it(
    `never runs two Temporals on one database, killed ${KILLS} times at random moments, and leaves nothing in the end`,
    { timeout: RUNS_MS },
    async () => {
      const watching = new AbortController();
      let most = 0;
      const watch = (async () => {
        while (!watching.signal.aborted) {
          most = Math.max(most, (await runningServers(join(folder, 'data'))).temporal.length);
          await sleep(20);
        }
      })();
      for (let kill = 1; kill <= KILLS; kill += 1) {
        const running = start();
        await sleep(LONGEST_MS * uniform(`${seed} kill ${kill}`));
        running.kill('SIGKILL');
        await running;
      }
      const last = start();
      await ready(last);
      last.kill('SIGINT');
      expect((await last).exitCode).toBe(0);
      watching.abort();
      await watch;
      expect(most).toBe(1);
      expect(await ours()).toEqual([]);
    },
  );

  it('says that it has lost its servers when the one that runs them ends', async () => {
    const first = start();
    await ready(first);
    const second = start();
    await ready(second);
    first.kill('SIGKILL');
    const { exitCode, all } = await second;
    expect({ exitCode, all }).toEqual({ exitCode: 1, all: expect.stringMatching(/has ended/) as string });
    // The first one's worker notices by itself that its starter is gone, and takes a moment to end.
    await until(async () => (await ours()).length === 0);
  });
});
