/** Starting `src/worker.ts` as a process of its own. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { WITH_STARTER } from '../with-starter.js';
import { ROOT } from '../../infra/dev/setup.mjs';

/**
 * V8 lets its nursery grow to 48 MB by default, and what dies in it late counts as resident: a worker takes a quarter less
 * memory with a small one (test/bench/worker-memory.ts).
 */
const NODE_OPTIONS = ['--max-semi-space-size=2'];

const WORKER = path.join(ROOT, 'src', 'worker.ts');
const OF_STACK = '--of-stack';

/** How a worker is started. */
export interface WorkerOptions {
  readonly stdout: 'inherit' | 'ignore' | number;
  readonly stderr: 'inherit' | 'ignore' | number;
  readonly env: NodeJS.ProcessEnv;
  /** Gives it a session of its own, which a terminal's Ctrl-C does not reach. */
  readonly detached?: boolean;
  /** Data folder of the stack that the worker belongs to: it is found again by it. */
  readonly ofStack?: string;
}

/** Starts a worker. It ends as at SIGTERM when this process has ended, however that came to pass. */
export function spawnWorker({ stdout, stderr, env, detached = false, ofStack }: WorkerOptions): ChildProcess {
  const worker = spawn(
    process.execPath,
    [
      ...[...NODE_OPTIONS, '--import', 'tsx', WORKER, WITH_STARTER],
      ...(ofStack === undefined ? [] : [OF_STACK, ofStack]),
    ],
    {
      cwd: ROOT,
      detached,
      env: { ...env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
      stdio: ['pipe', stdout, stderr],
    },
  );
  // Nothing is ever written to it: it closes with this process.
  worker.stdin?.on('error', () => undefined);
  return worker;
}

/** Whether a process is a worker of that stack, by its command line. */
export function isWorkerOf(command: string, stack: string): boolean {
  return command.endsWith(` ${WORKER} ${WITH_STARTER} ${OF_STACK} ${stack}`);
}
