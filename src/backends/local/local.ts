/**
 * Jobs as detached processes of this machine. All state lies in one folder per job, so that any worker started later
 * finds what an earlier one launched.
 */
import { mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Backend, JobObservation, JobRequest, JobSignal, SignalsJobs, Submission } from '../backend.js';
import { Shims } from './shims.js';
import { isSameProcessAlive } from './process-identity.mjs';

const LOG_TAIL_BYTES = 64 * 1024;
/** A timer that is to run for longer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const START_WAIT_MS = 60_000;
const KEEP_LOGS_MS = 3_600_000;
/** What may be deleted of a job that has ended. What it was and how it ended stays, so that its name never runs again. */
const LOG_FILES = ['log.txt', 'log.head.txt', 'log.before.txt', 'shim.txt'];

const identitySchema = z.strictObject({ pid: z.int().positive(), startTicks: z.string().nullable() });
const startedSchema = z.strictObject({
  shim: identitySchema,
  job: identitySchema.nullable().describe('null: claimed, not spawned yet'),
  startedAt: z.string(),
});
type Started = z.infer<typeof startedSchema>;
/** What is read back of `job.json`; jobs of earlier versions have no labels. */
const jobSchema = z.looseObject({ labels: z.record(z.string(), z.string()).default({}) });
const endedSchema = z.strictObject({ exitCode: z.int(), endedAt: z.string() });

/** How much of the machine jobs may take. */
export interface LocalLimits {
  /** Jobs that run at the same time; those that other workers on the same folder have started count. Default: no limit. */
  readonly maxJobs?: number;
  /** Bytes of the logs of all jobs; above, those of the jobs that ended first are deleted. Default: no limit. */
  readonly maxLogBytes?: number;
  /** For so long after a job's end its log is kept in any case: somebody may be about to read it. Default: an hour. */
  readonly keepLogsMs?: number;
}

/** Runs jobs on this machine, with their state below `folder`. */
export class LocalBackend implements Backend, SignalsJobs {
  readonly #shims: Shims;
  readonly #maxJobs: number;
  readonly #maxLogBytes: number;
  readonly #keepLogsMs: number;
  /** Names of jobs that have ended: none of them runs again. */
  readonly #ended = new Set<string>();
  /** One submission after the other: two don't take the last place. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly folder: string,
    { maxJobs = Infinity, maxLogBytes = Infinity, keepLogsMs = KEEP_LOGS_MS }: LocalLimits = {},
  ) {
    this.#shims = new Shims(folder);
    this.#maxJobs = maxJobs;
    this.#maxLogBytes = maxLogBytes;
    this.#keepLogsMs = keepLogsMs;
  }

  async submit(request: JobRequest): Promise<Submission> {
    const submission = this.#turn.then(() => this.#submit(request));
    // Nobody waits for the pruning of logs but the next submission, and nobody fails with it.
    this.#turn = submission.then(() => this.pruneLogs()).catch(() => undefined);
    return submission;
  }

  /** Deletes logs of jobs that have ended, oldest end first, until the rest is small enough. Live jobs keep theirs. */
  async pruneLogs(): Promise<void> {
    if (this.#maxLogBytes === Infinity) return;
    const names = await this.list();
    const logs = [];
    for (const name of names) logs.push(await this.#logOf(name));
    let bytes = logs.reduce((sum, log) => sum + log.bytes, 0);
    const before = Date.now() - this.#keepLogsMs;
    for (const log of logs.sort((a, b) => a.endedAt - b.endedAt)) {
      if (bytes <= this.#maxLogBytes || log.endedAt > before) return;
      for (const file of LOG_FILES) await rm(join(this.jobFolder(log.name), file), { force: true });
      bytes -= log.bytes;
    }
  }

  /** How large the log of a job is, and when the job ended, as milliseconds of the epoch; infinite while it runs. */
  async #logOf(name: string): Promise<{ name: string; bytes: number; endedAt: number }> {
    let [bytes, changedAt] = [0, 0];
    for (const file of LOG_FILES) {
      const found = await stat(join(this.jobFolder(name), file)).catch(() => null);
      bytes += found?.size ?? 0;
      changedAt = Math.max(changedAt, found?.mtimeMs ?? 0);
    }
    const observation = bytes === 0 ? null : await this.observe(name);
    if (observation?.state !== 'ended') return { name, bytes, endedAt: Infinity };
    // Of an end that nobody saw only the log tells how long ago it may have been.
    return {
      name,
      bytes,
      endedAt: observation.exitCode === null ? changedAt : Date.parse(observation.endedAt),
    };
  }

  async #submit(request: JobRequest): Promise<Submission> {
    const folder = this.jobFolder(request.name);
    if ((await this.observe(request.name)).state !== 'absent') return 'adopted';
    if (!(await this.#hasRoom())) return 'full';
    await mkdir(folder, { recursive: true });
    const { command, graceSeconds, labels = {} } = request;
    const temporary = join(folder, `job.json.${randomUUID()}`);
    await writeFile(temporary, JSON.stringify({ command, graceSeconds, labels }));
    await rename(temporary, join(folder, 'job.json'));
    await this.#shims.order({ folder, environment: request.environment });
    await this.started(request.name);
    return 'started';
  }

  async observe(name: string): Promise<JobObservation> {
    const started = await this.read(name, 'started.json', startedSchema);
    if (started === null) return { state: 'absent' };
    const { shim, job, startedAt } = started;
    const alive = [shim, job].some((identity) => identity !== null && isSameProcessAlive(identity));
    // Read after that: whoever isn't alive any more has written its end, if it ever will.
    const ended = await this.read(name, 'ended.json', endedSchema);
    const node = hostname();
    if (ended !== null) return { state: 'ended', ...ended, startedAt, node };
    if (alive) return { state: 'running', startedAt };
    return { state: 'ended', exitCode: null, startedAt, endedAt: new Date().toISOString(), node };
  }

  async terminate(name: string, graceSeconds: number): Promise<void> {
    const started = await this.spawned(name);
    if (started === null || (await this.observe(name)).state !== 'running') return;
    const { shim, job } = started;
    if (graceSeconds > 0 && isSameProcessAlive(shim)) {
      signal(shim.pid, 'SIGTERM');
    } else if (job !== null) {
      signalJob(job, graceSeconds > 0 ? 'SIGTERM' : 'SIGKILL');
      // Nobody is left to see to its grace but this process, which does not stay for it.
      if (graceSeconds > 0)
        setTimeout(() => signalJob(job, 'SIGKILL'), Math.min(graceSeconds * 1000, LONGEST_TIMER_MS)).unref();
    }
  }

  async signal(name: string, signalName: JobSignal): Promise<boolean> {
    const job = (await this.spawned(name))?.job ?? null;
    return job !== null && signalJob(job, signalName);
  }

  async logs(name: string, lines: number): Promise<string[]> {
    const now = await this.tail(name, 'log.txt');
    // A log that was cut a moment ago has little to say.
    const before = now.length >= LOG_TAIL_BYTES / 2 ? '' : await this.tail(name, 'log.before.txt');
    const text = (before + now).trimEnd();
    return text === '' ? [] : text.split('\n').slice(-lines);
  }

  /** The end of one of the job's files; empty: there is none. */
  private async tail(name: string, file: string): Promise<string> {
    try {
      const log = await open(join(this.jobFolder(name), file));
      try {
        const { size } = await log.stat();
        const start = Math.max(0, size - LOG_TAIL_BYTES);
        const { buffer, bytesRead } = await log.read(Buffer.alloc(size - start), 0, size - start, start);
        return buffer.subarray(0, bytesRead).toString('utf8');
      } finally {
        await log.close();
      }
    } catch (error) {
      if (isMissing(error)) return '';
      throw error;
    }
  }

  async list(): Promise<string[]> {
    try {
      return (await readdir(this.folder)).sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  async labels(name: string): Promise<Readonly<Record<string, string>>> {
    return (await this.read(name, 'job.json', jobSchema))?.labels ?? {};
  }

  async #hasRoom(): Promise<boolean> {
    if (this.#maxJobs === Infinity) return true;
    let running = 0;
    for (const name of await this.list()) {
      if (this.#ended.has(name)) continue;
      const { state } = await this.observe(name);
      if (state === 'running') running += 1;
      if (state === 'ended') this.#ended.add(name);
    }
    return running < this.#maxJobs;
  }

  private jobFolder(name: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
      throw new Error(`job name ${JSON.stringify(name)}: expected letters, digits, ".", "_" and "-"`);
    }
    return join(this.folder, name);
  }

  /** Waits until the shim has claimed the job and spawned it, or has given up. */
  private async started(name: string): Promise<void> {
    const deadline = performance.now() + START_WAIT_MS;
    while ((await this.spawned(name)) === null) {
      if (performance.now() > deadline) {
        const notes = await readFile(join(this.jobFolder(name), 'shim.txt'), 'utf8').catch(() => '');
        throw new Error(`job ${name} did not start within ${START_WAIT_MS} ms: ${notes.trim()}`);
      }
      await sleep(5);
    }
  }

  /** What the shim wrote at the start, once it has spawned the job or is gone; null: nothing claimed the name. */
  private async spawned(name: string): Promise<Started | null> {
    for (;;) {
      const started = await this.read(name, 'started.json', startedSchema);
      if (started?.job !== null || !isSameProcessAlive(started.shim)) return started;
      await sleep(5);
    }
  }

  private async read<T>(name: string, file: string, schema: z.ZodType<T>): Promise<T | null> {
    try {
      return schema.parse(JSON.parse(await readFile(join(this.jobFolder(name), file), 'utf8')));
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Signals all processes of a job. False: it is gone, and its pid may be another's. */
function signalJob(job: z.infer<typeof identitySchema>, name: JobSignal): boolean {
  if (!isSameProcessAlive(job)) return false;
  signal(-job.pid, name);
  return true;
}

/** Signals a process or, negative, a process group; it may have ended in between. */
function signal(pid: number, name: JobSignal): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
