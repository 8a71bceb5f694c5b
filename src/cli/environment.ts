/** The configuration of command-line programs: the environment, and what runs in this folder where it says nothing. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runningStackEnvironment } from '../../infra/dev/stack.js';
import { ConfigError, loadConfig } from '../config.js';
import type { Config } from '../config.js';
import { UserError } from './user-error.js';

/** The repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Configuration of this process. Where the environment names no servers, the embedded stack of this folder is used
 * if it runs; its credentials go into this process's environment, where the AWS SDK looks for them.
 *
 * @throws {UserError} with every problem of the environment
 */
export async function cliConfig(): Promise<Config> {
  const namesServers = ['LONGHAUL_TEMPORAL_ADDRESS', 'LONGHAUL_S3_ENDPOINT'].some(
    (name) => (process.env[name] ?? '') !== '',
  );
  if (!namesServers) {
    Object.assign(process.env, await runningStackEnvironment(path.join(ROOT, '.longhaul', 'data')));
  }
  try {
    return loadConfig(process.env, ROOT);
  } catch (error) {
    throw error instanceof ConfigError ? new UserError(error.message) : error;
  }
}
