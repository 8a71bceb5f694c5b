/** The embedded stack and real workers on it, for end-to-end tests: own folder, free ports, gone afterwards. */
import { Client, Connection } from '@temporalio/client';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '../../infra/dev/stack.js';
import type { Stack } from '../../infra/dev/stack.js';
import { spawnWorker } from '../../src/cli/worker-process.js';
import { loadConfig } from '../../src/config.js';
import type { Config } from '../../src/config.js';
import { ObjectStore, createS3Client } from '../../src/store/object-store.js';

/** A running stack with what tests need to look into it. */
export class LiveStack {
  readonly #workers = new Set<ChildProcess>();

  private constructor(
    readonly folder: string,
    readonly stack: Stack,
    readonly config: Config,
    readonly client: Client,
    readonly store: ObjectStore,
  ) {}

  static async start(): Promise<LiveStack> {
    const folder = await mkdtemp(join(tmpdir(), 'longhaul-e2e-'));
    const stack = await startStack({ dataDir: join(folder, 'data'), ports: { temporal: 0, ui: 0, s3: 0 } });
    // The clients of this process read their credentials from where every process of the project does.
    Object.assign(process.env, stack.environment, { LONGHAUL_DATA_DIR: join(folder, 'data') });
    const config = loadConfig();
    const connection = await Connection.connect({ address: stack.temporalAddress });
    const client = new Client({ connection, namespace: stack.namespace });
    return new LiveStack(folder, stack, config, client, new ObjectStore(createS3Client(config.s3)));
  }

  /** Starts a worker process; its log lies in the stack's folder. `environment`: on top of the stack's. */
  worker(environment: Readonly<Record<string, string>> = {}): ChildProcess {
    const log = openSync(join(this.folder, 'worker.log'), 'a');
    const worker = spawnWorker({
      stdout: log,
      stderr: log,
      env: { ...process.env, LONGHAUL_ON_SHUTDOWN: 'stop', ...environment },
      detached: true,
    });
    closeSync(log);
    this.#workers.add(worker);
    worker.once('exit', () => this.#workers.delete(worker));
    return worker;
  }

  /** SIGKILL to every worker: no chance to hand anything over. Their jobs run on. */
  killWorkers(): void {
    for (const worker of this.#workers) worker.kill('SIGKILL');
  }

  /** What the workers logged. */
  async log(): Promise<string> {
    return readFile(join(this.folder, 'worker.log'), 'utf8');
  }

  /** Ends workers (their jobs with them), then servers, and removes every file. */
  async stop(): Promise<void> {
    const exits = [...this.#workers].map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
    for (const worker of this.#workers) worker.kill('SIGTERM');
    await Promise.all(exits);
    this.store.close();
    await this.client.connection.close();
    await this.stack.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
