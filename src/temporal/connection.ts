/** How every process of the control plane reaches Temporal. */
import { ConfigError } from '../config.js';
import type { Config } from '../config.js';

/** Options of a connection, of a client's and of a worker's alike. */
export interface TemporalConnectionOptions {
  /** host:port of the frontend. */
  readonly address: string;
  readonly tls: boolean;
  /** From `TEMPORAL_API_KEY`, read here and kept nowhere else. */
  readonly apiKey?: string;
}

/**
 * The options that a configuration and the environment's API key make.
 *
 * @throws {ConfigError} when the key would be sent in clear
 */
export function temporalConnectionOptions(
  { temporal }: Pick<Config, 'temporal'>,
  environment: NodeJS.ProcessEnv = process.env,
): TemporalConnectionOptions {
  const apiKey = environment['TEMPORAL_API_KEY'];
  if (apiKey !== undefined && apiKey !== '' && !temporal.tls) {
    throw new ConfigError([
      `TEMPORAL_API_KEY: would be sent to ${temporal.address} in clear: set LONGHAUL_TEMPORAL_TLS=true, or unset the key`,
    ]);
  }
  return {
    address: temporal.address,
    tls: temporal.tls,
    ...(apiKey === undefined || apiKey === '' ? {} : { apiKey }),
  };
}
