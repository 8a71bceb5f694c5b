/** The Temporal client of command-line programs. */
import { Client, Connection } from '@temporalio/client';
import type { Config } from '../config.js';
import { temporalConnectionOptions } from '../temporal/connection.js';
import { isSet } from './environment.js';
import { UserError } from './user-error.js';
import { messageOf } from '../domain/lib/text.js';

/** How long a server may take to answer before the command gives up. */
const CONNECT_MS = 5000;

/** Runs with a client and closes its connection afterwards, whatever happens. */
export async function withClient<T>(
  config: Config,
  work: (client: Client, connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await connect(config);
  try {
    return await work(new Client({ connection, namespace: config.temporal.namespace }), connection);
  } finally {
    await connection.close();
  }
}

async function connect(config: Config): Promise<Connection> {
  if (!isSet('LONGHAUL_TEMPORAL_ADDRESS'))
    throw new UserError('LONGHAUL_TEMPORAL_ADDRESS is not set: which Temporal server is meant?');
  const options = temporalConnectionOptions(config);
  try {
    return await Connection.connect({ ...options, connectTimeout: CONNECT_MS });
  } catch (error) {
    throw new UserError(
      `No Temporal server answers at ${config.temporal.address} (${messageOf(error)}).\n` +
        'Start the embedded one with `npm start`, or name another with LONGHAUL_TEMPORAL_ADDRESS.',
    );
  }
}
