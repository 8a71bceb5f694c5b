/**
 * What chaos is brought to: real servers, a proxy between everything and the store, real workers, real trainers, and a
 * recipe of one stage that takes as little as one can. One stack serves all scenarios; each has a run of its own.
 */
import type { ChildProcess } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LocalBackend } from '../../../src/backends/local/local.js';
import { startStack } from '../../../infra/dev/stack.js';
import type { Stack } from '../../../infra/dev/stack.js';
import { runningServers } from '../../../infra/dev/stack/running.js';
import { readEvidence } from '../../../src/drill/evidence.js';
import type { StageEvidence } from '../../../src/drill/evidence.js';
import { parseUrl } from '../../../src/contracts/layout.js';
import { startFaultyProxy } from '../../support/faulty-proxy.js';
import type { Fault, FaultyProxy, SeenRequest } from '../../support/faulty-proxy.js';
import { LiveStack } from '../../support/live-stack.js';
import { ChaosRun } from './chaos-run.js';
import { CHAOS_RECIPE } from './recipe.js';

/** Decides about requests of workers and trainers to the store. */
export type ProxyRule = (request: SeenRequest) => Fault;

/** The stack of all scenarios. */
export class ChaosStack {
  /** What the undisturbed run left; every disturbed one is compared with it. */
  reference: readonly StageEvidence[] = [];
  readonly backend: LocalBackend;
  readonly #restarted: Stack[] = [];
  #started = 0;

  private constructor(
    readonly live: LiveStack,
    private readonly proxy: FaultyProxy,
    private readonly rules: Set<ProxyRule>,
  ) {
    this.backend = new LocalBackend(join(live.config.dataDir, 'jobs'));
  }

  /** Starts servers, proxy and one worker. */
  static async start(): Promise<ChaosStack> {
    const live = await LiveStack.start();
    const rules = new Set<ProxyRule>();
    const proxy = await startFaultyProxy(live.stack.s3Endpoint, (request) => decide(rules, request));
    const stack = new ChaosStack(live, proxy, rules);
    stack.worker();
    return stack;
  }

  /** Runs the recipe undisturbed: what every disturbed run is compared with. */
  async runUndisturbed(): Promise<void> {
    const run = await this.run('undisturbed');
    await run.completed();
    this.reference = await readEvidence(this.live.store, run.runUrl);
  }

  /** Puts a rule between the store and everything but this test, until the returned function is called. */
  disturbStore(rule: ProxyRule): () => void {
    this.rules.add(rule);
    return () => {
      this.rules.delete(rule);
      this.proxy.dropHeld();
    };
  }

  /** Starts a worker. Its jobs run on when it is told to end. */
  worker(environment: Readonly<Record<string, string>> = {}): ChildProcess {
    return this.live.worker({
      LONGHAUL_S3_ENDPOINT: this.proxy.endpoint,
      LONGHAUL_ON_SHUTDOWN: 'detach',
      ...environment,
    });
  }

  /** Starts a run; `changes` are laid over the recipe. */
  async run(name: string, changes: Readonly<Record<string, unknown>> = {}): Promise<ChaosRun> {
    this.#started += 1;
    const run = new ChaosRun(this, `${String(this.#started).padStart(2, '0')}-${name}`);
    await run.start({ ...CHAOS_RECIPE, ...changes });
    return run;
  }

  /** The file behind an object: damage to it is what the store does not hear of. */
  fileOf(url: string): string {
    const { bucket, key } = parseUrl(url);
    return join(this.live.folder, 'data', 's3', bucket, key);
  }

  /** The Temporal server dies; `downMs` later it is back, with the same database, at the same address. */
  async restartTemporal(downMs: number): Promise<void> {
    const dataDir = join(this.live.folder, 'data');
    const { temporal } = await runningServers(await realpath(dataDir));
    for (const { entry } of temporal) process.kill(entry.pid, 'SIGKILL');
    await sleep(downMs);
    // It adopts the server that still runs, and starts the other one.
    this.#restarted.push(await startStack({ dataDir, ports: { temporal: 0, ui: 0, s3: 0 } }));
  }

  /** Ends everything. */
  async stop(): Promise<void> {
    this.rules.clear();
    await this.live.stop();
    for (const stack of this.#restarted) await stack.stop();
    await this.proxy.stop();
  }
}

/** The first fault that a rule asks for. */
function decide(rules: ReadonlySet<ProxyRule>, request: SeenRequest): Fault {
  for (const rule of rules) {
    const fault = rule(request);
    if (fault !== 'pass') return fault;
  }
  return 'pass';
}
