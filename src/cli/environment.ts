/** The configuration of command-line programs: the environment, and what runs in this folder where it says nothing. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runningStackEnvironment } from '../../infra/dev/stack.js';
import { ConfigError, loadConfig } from '../config.js';
import type { Config } from '../config.js';
import { UserError } from './user-error.js';

/** The repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Any of these says that the environment means servers of its own. */
const NAMES_SERVERS = ['LONGHAUL_TEMPORAL_ADDRESS', 'LONGHAUL_S3_ENDPOINT', 'LONGHAUL_S3_BUCKET'];

/**
 * Configuration of this process. Where the environment names no servers, the embedded stack of this folder is used; its
 * credentials go into this process's environment, where the AWS SDK looks for them.
 *
 * @throws {UserError} with every problem of the environment, or when there are no servers: whatever listens at the usual port is
 *   another project's
 */
export async function cliConfig(): Promise<Config> {
  if (!NAMES_SERVERS.some(isSet))
    useStack(await runningStackEnvironment(path.join(ROOT, '.longhaul', 'data')));
  try {
    return loadConfig(process.env, ROOT);
  } catch (error) {
    throw error instanceof ConfigError ? new UserError(error.message) : error;
  }
}

/** Whether the environment has a variable that isn't empty. */
export function isSet(name: string): boolean {
  return (process.env[name] ?? '') !== '';
}

function useStack(environment: Readonly<Record<string, string>> | undefined): void {
  if (environment === undefined) {
    throw new UserError(
      `No servers run from this folder (${ROOT}). Start them with \`npm start\` (\`npm start -- --no-run\`: without a run), ` +
        'or name others with LONGHAUL_TEMPORAL_ADDRESS and LONGHAUL_S3_ENDPOINT.',
    );
  }
  Object.assign(process.env, environment);
  // The key is for another server.
  delete process.env['TEMPORAL_API_KEY'];
}
