/** Starting `src/worker.ts` as a process of its own. */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import path from 'node:path';
import { ROOT } from './environment.js';

/**
 * V8 lets its nursery grow to 48 MB by default, and what dies in it late counts as resident: a worker takes a quarter less
 * memory with a small one (test/bench/worker-memory.ts).
 */
const NODE_OPTIONS = ['--max-semi-space-size=2'];

/** Starts a worker. `detached` gives it a session of its own, which a terminal's Ctrl-C does not reach. */
export function spawnWorker(options: {
  readonly stdio: StdioOptions;
  readonly env: NodeJS.ProcessEnv;
  readonly detached?: boolean;
}): ChildProcess {
  return spawn(process.execPath, [...NODE_OPTIONS, '--import', 'tsx', path.join(ROOT, 'src', 'worker.ts')], {
    cwd: ROOT,
    detached: options.detached ?? false,
    env: { ...options.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    stdio: options.stdio,
  });
}
