import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import type { JobObservation } from '../../../src/backends/backend.js';
import { LocalBackend } from '../../../src/backends/local/local.js';
import { isSameProcessAlive, processIdentity } from '../../../src/backends/local/process-identity.mjs';

const NODE = process.execPath;
let folder: string;
let backend: LocalBackend;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-local-'));
  backend = new LocalBackend(join(folder, 'jobs'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const name of await backend.list()) await backend.terminate(name, 0);
  for (const name of await backend.list()) await ended(name);
  await rm(folder, { recursive: true, force: true });
});

/** A job that runs a piece of JavaScript. */
function job(name: string, code: string, graceSeconds = 5, environment: Record<string, string> = {}) {
  return { name, command: [NODE, '-e', code] as const, environment, graceSeconds };
}

async function ended(name: string): Promise<Extract<JobObservation, { state: 'ended' }>> {
  for (;;) {
    const observation = await backend.observe(name);
    if (observation.state === 'ended') return observation;
    await sleep(20);
  }
}

async function logged(name: string, line: string): Promise<void> {
  while (!(await backend.logs(name, 10)).includes(line)) await sleep(20);
}

/** Kills the process that watches a job, as a machine that runs out of memory may. */
async function killShim(name: string): Promise<void> {
  const started = await readFile(join(folder, 'jobs', name, 'started.json'), 'utf8');
  const { shim } = z.object({ shim: z.object({ pid: z.int() }) }).parse(JSON.parse(started));
  process.kill(shim.pid, 'SIGKILL');
  while (isSameProcessAlive(processIdentity(shim.pid))) await sleep(5);
}

describe('a job is submitted by name', () => {
  it('runs the command with its environment and reports its exit code and log', async () => {
    await backend.submit(
      job('a', 'console.log(process.env.GREETING); process.exit(75)', 5, { GREETING: 'hello' }),
    );
    expect((await ended('a')).exitCode).toBe(75);
    expect(await backend.logs('a', 5)).toEqual(['hello']);
  });

  it('tells when it was started, while it runs and when it has ended', async () => {
    await backend.submit(job('a', 'setTimeout(() => {}, 300)'));
    const running = await backend.observe('a');
    const { startedAt = '' } = await ended('a');
    expect(running).toEqual({ state: 'running', startedAt });
    expect(Date.parse(startedAt)).not.toBeNaN();
  });

  it('is adopted while it runs and never run again after it ended, not even by submissions that race', async () => {
    const count = join(folder, 'count');
    const request = job('a', `require('fs').appendFileSync(${JSON.stringify(count)}, 'x')`);
    await Promise.all(Array.from({ length: 8 }, () => backend.submit(request)));
    await ended('a');
    expect(await backend.submit(request)).toBe('adopted');
    expect(await readFile(count, 'utf8')).toBe('x');
  });

  it('inherits this process’s environment, but not its key to Temporal', async () => {
    vi.stubEnv('TEMPORAL_API_KEY', 'secret').stubEnv('AWS_REGION', 'eu-north-1');
    await backend.submit(job('a', 'console.log(process.env.TEMPORAL_API_KEY, process.env.AWS_REGION)'));
    await ended('a');
    expect(await backend.logs('a', 5)).toEqual(['undefined eu-north-1']);
  });

  it('keeps its environment out of every file, because it holds credentials', async () => {
    await backend.submit(job('a', 'setTimeout(() => {}, 100)', 5, { AWS_SECRET_ACCESS_KEY: 'sesame-open' }));
    await ended('a');
    for (const file of await readdir(join(folder, 'jobs', 'a'))) {
      expect(await readFile(join(folder, 'jobs', 'a', file), 'utf8')).not.toContain('sesame-open');
    }
  });

  it('refuses a name that could leave its folder', async () => {
    await expect(backend.submit(job('../a', ''))).rejects.toThrow('expected letters');
  });

  it('reports a program that is not there as exit code 127', async () => {
    await backend.submit({ name: 'a', command: ['/nonexistent'], environment: {}, graceSeconds: 1 });
    expect((await ended('a')).exitCode).toBe(127);
  });
});

describe('labels stay with a job', () => {
  it('for any worker that finds it, as long as it is remembered', async () => {
    const labels = { workflowId: 'run/04-stage-1', epoch: '3' };
    await backend.submit({ ...job('a', ''), labels });
    await backend.submit(job('b', ''));
    await ended('a');
    const other = new LocalBackend(join(folder, 'jobs'));
    expect(await other.labels('a')).toEqual(labels);
    expect(await other.labels('b')).toEqual({});
    expect(await other.labels('c')).toEqual({});
  });
});

describe('a job outlives the worker that started it', () => {
  it('is observed and stopped by another backend object over the same folder', async () => {
    await backend.submit(
      job('a', 'process.on("SIGTERM", () => process.exit(3)); setInterval(() => {}, 1e3); console.log("up")'),
    );
    await logged('a', 'up');
    const other = new LocalBackend(join(folder, 'jobs'));
    expect((await other.observe('a')).state).toBe('running');
    await other.terminate('a', 5);
    expect((await ended('a')).exitCode).toBe(3);
  });

  it('counts as running when only its shim was killed, and as ended without an exit code after that', async () => {
    await backend.submit(job('a', 'setInterval(() => {}, 1e3); console.log("up")'));
    await logged('a', 'up');
    await killShim('a');
    expect((await backend.observe('a')).state).toBe('running');
    await backend.terminate('a', 0);
    expect((await ended('a')).exitCode).toBeNull();
  });

  it('is not taken for running when its pid belongs to another process now', async () => {
    await backend.submit(job('a', 'setInterval(() => {}, 1e3)'));
    await backend.terminate('a', 0);
    await ended('a');
    await rm(join(folder, 'jobs', 'a', 'ended.json'));
    const mine = { pid: process.pid, startTicks: '1' };
    await writeFile(
      join(folder, 'jobs', 'a', 'started.json'),
      JSON.stringify({ shim: mine, job: mine, startedAt: new Date().toISOString() }),
    );
    expect(await backend.observe('a')).toMatchObject({ state: 'ended', exitCode: null });
  });
});

describe('a job that is signalled from outside', () => {
  it('stands still while it is frozen, goes on when it is thawed, and ends when it is killed', async () => {
    await backend.submit(job('a', 'let n = 0; setInterval(() => console.log("tick " + ++n), 10)'));
    await logged('a', 'tick 3');
    expect(await backend.signal('a', 'SIGSTOP')).toBe(true);
    await sleep(50);
    const [frozen] = await backend.logs('a', 1);
    await sleep(100);
    expect(await backend.logs('a', 1)).toEqual([frozen]);
    expect((await backend.observe('a')).state).toBe('running');
    await backend.signal('a', 'SIGCONT');
    while ((await backend.logs('a', 1))[0] === frozen) await sleep(20);
    await backend.signal('a', 'SIGKILL');
    expect((await ended('a')).exitCode).toBe(137);
    expect(await backend.signal('a', 'SIGKILL')).toBe(false);
  });
});

describe('a job that is asked to stop', () => {
  it('is killed after its grace when it ignores SIGTERM', async () => {
    await backend.submit(
      job(
        'a',
        'process.on("SIGTERM", () => console.log("no")); setInterval(() => {}, 1e3); console.log("up")',
        0.3,
      ),
    );
    await logged('a', 'up');
    await backend.terminate('a', 1);
    expect((await ended('a')).exitCode).toBe(137);
    expect(await backend.logs('a', 5)).toContain('no');
  });

  it('is killed after its grace although the shim that would have done it is gone', async () => {
    await backend.submit(
      job('a', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1e3); console.log("up")'),
    );
    await logged('a', 'up');
    await killShim('a');
    await backend.terminate('a', 0.3);
    expect((await ended('a')).exitCode).toBeNull();
  });

  it('takes its own children with it', async () => {
    const code = `const c = require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e3)']);
      console.log('child ' + c.pid)`;
    await backend.submit(job('a', code + '; setTimeout(() => process.exit(0), 200)'));
    await ended('a');
    const child = Number((await backend.logs('a', 5)).join('').replace('child ', ''));
    await sleep(100);
    expect(isSameProcessAlive(processIdentity(child))).toBe(false);
  });
});
