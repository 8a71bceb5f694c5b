/** Shims that are ready before there is a job for them: a relaunch need not wait until Node has started. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const SHIM = fileURLToPath(new URL('./shim.mjs', import.meta.url));

/** What a shim is to do. */
export interface ShimOrder {
  /** The job's folder. */
  readonly folder: string;
  /** Environment of the job on top of this process's. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Gives orders to shims, and keeps one in reserve once it has given its first. */
export class Shims {
  #reserve: ChildProcess | null = null;

  /** @param folder of the jobs; a shim is found again by it, and by nothing else before it has claimed a job */
  constructor(private readonly folder: string) {}

  /** Lets a shim start a job. @throws when no shim can be started. */
  async order(order: ShimOrder): Promise<void> {
    const text = JSON.stringify(order);
    const reserve = this.#take();
    // A reserve may have been killed a moment ago.
    const taken = reserve !== null && (await given(reserve, text));
    if (!taken && !(await given(await spawned(start(this.folder)), text))) {
      throw new Error('a shim ended before it was told which job to start');
    }
    this.#reserve ??= start(this.folder);
  }

  /** The reserve, unless it has ended. */
  #take(): ChildProcess | null {
    const shim = this.#reserve;
    this.#reserve = null;
    const isThere = shim?.pid !== undefined && shim.exitCode === null && shim.signalCode === null;
    return isThere ? shim : null;
  }
}

/** A shim without an order. It leaves when this process ends, and keeps this process from ending as little as its job does. */
function start(folder: string): ChildProcess {
  const shim = spawn(process.execPath, [SHIM, folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shim.on('error', () => undefined);
  shim.stdin.on('error', () => undefined);
  shim.unref();
  return shim;
}

/** Whether a process is a shim of the jobs in that folder, by its command line. */
export function isShimOf(command: string, folder: string): boolean {
  return command.endsWith(` ${SHIM} ${folder}`);
}

/** Gives a shim its order. False: it did not take it. */
async function given({ stdin }: ChildProcess, order: string): Promise<boolean> {
  return new Promise((resolve) => {
    stdin?.once('error', () => resolve(false)).end(order, () => resolve(true));
  });
}

async function spawned(shim: ChildProcess): Promise<ChildProcess> {
  if (shim.pid !== undefined) return shim;
  return new Promise((resolve, reject) => {
    shim.once('spawn', () => resolve(shim)).once('error', reject);
  });
}
