/** The Temporal dev server: how it is started, when it is ready, and what has to be registered in it. */
import { Connection } from '@temporalio/client';
import { msToTs, optionalTsToMs } from '@temporalio/common/lib/time.js';
import { createConnection } from 'node:net';
import path from 'node:path';
import { SEARCH_ATTRIBUTES } from '../../../src/domain/run/search-attributes.js';
import type { SearchAttributeKind } from '../../../src/domain/run/search-attributes.js';
import { afterServer, beforeServer, databaseOf } from './database.js';
import { LOOPBACK, listeningPorts } from './ports.js';
import { startServer, waitUntil } from './server-process.js';
import type { StartedServer } from './server-process.js';

/** The dev server always has this namespace. */
export const NAMESPACE = 'default';

/** Far more than it takes: a busy machine is slow, and a server that can't start ends. */
const READY_SECONDS = 300;

/**
 * The server's HTTP API takes a `text/plain` body, which any web page may post to this machine: no `Host` is allowed there, so that
 * nothing answers. gRPC, which everything here speaks, is nothing that a page can send.
 */
const WITHOUT_HTTP_API = ['--dynamic-config-value', 'frontend.httpAllowedHosts=[]'];

/** Lets operators hold a workflow by Temporal's own means, which nothing of ours has to ask for. */
const WITH_PAUSE = ['--dynamic-config-value', 'frontend.WorkflowPauseEnabled=true'];

/** Closed runs stay visible for a month; the dev server's own setting is a day. */
const RETENTION_MS = 30 * 24 * 3600 * 1000;

/**
 * Starts the server and waits until it answers, its UI too. Beside these two ports it picks five of its own, and ends where
 * one of them is taken before it has bound it.
 *
 * @throws {PortTakenError}
 */
export async function startTemporal(options: {
  readonly binDir: string;
  /** Folder of the database; null: it is in memory, and gone with the server. */
  readonly dataDir: string | null;
  readonly logDir: string;
  readonly port: number;
  readonly uiPort: number;
  readonly signal?: AbortSignal | undefined;
}): Promise<StartedServer> {
  if (options.dataDir !== null) await beforeServer(options.dataDir);
  const server = await startServer({
    name: 'the Temporal server',
    file: path.join(options.binDir, 'temporal'),
    args: [
      ...argumentsFor(options.dataDir),
      ...['--port', String(options.port), '--ui-port', String(options.uiPort)],
      ...['--log-level', 'warn', '--disable-config-file'],
      ...WITHOUT_HTTP_API,
      ...WITH_PAUSE,
    ],
    env: withoutTemporalSettings(process.env),
    logFile: path.join(options.logDir, 'temporal.log'),
    seconds: READY_SECONDS,
    signal: options.signal,
    isReady: async (pid) => {
      const ports = await listeningPorts(pid);
      if (!ports.has(options.port) || !ports.has(options.uiPort)) return false;
      return isTemporalReady(`${LOOPBACK}:${String(options.port)}`);
    },
  });
  if (options.dataDir !== null) await afterServer(options.dataDir);
  return server;
}

/** The arguments by which a server is known again. */
const argumentsFor = (dataDir: string | null): readonly string[] => [
  ...['server', 'start-dev'],
  ...(dataDir === null ? [] : ['--db-filename', databaseOf(dataDir)]),
  ...['--ip', LOOPBACK],
];

/** Ports that a process was told; undefined unless it is the Temporal server of that folder. */
export function temporalPortsOf(
  command: string,
  dataDir: string,
): { readonly temporal: number; readonly ui: number } | undefined {
  const [program = '', rest] = command.split(` ${argumentsFor(dataDir).join(' ')} `);
  const [, temporal, ui] = /^--port (\d+) --ui-port (\d+) /.exec(rest ?? '') ?? [];
  const isServer = path.basename(program) === 'temporal' && temporal !== undefined;
  return isServer ? { temporal: Number(temporal), ui: Number(ui) } : undefined;
}

/** The user's own `TEMPORAL_*` settings are for other servers. */
function withoutTemporalSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_')));
}

/** Whether the namespace can be used. */
export async function isTemporalReady(address: string): Promise<boolean> {
  if (!(await accepts(address))) return false;
  try {
    const connection = await Connection.connect({ address, connectTimeout: 2000 });
    try {
      await connection.withDeadline(Date.now() + 2000, () =>
        connection.workflowService.describeNamespace({ namespace: NAMESPACE }),
      );
      return true;
    } finally {
      await connection.close();
    }
  } catch {
    return false;
  }
}

/** Whether anything listens; much cheaper than a gRPC connection that is refused. */
async function accepts(address: string): Promise<boolean> {
  const [host = LOOPBACK, port = '0'] = address.split(':');
  return new Promise((resolve) => {
    const socket = createConnection({ host, port: Number(port), timeout: 1000 });
    const settle = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', settle(true)).once('error', settle(false)).once('timeout', settle(false));
  });
}

/** `temporal.api.enums.v1.IndexedValueType`. */
const INDEXED_VALUE_TYPES = { Keyword: 2, Int: 3, Double: 4 } as const satisfies Record<
  SearchAttributeKind,
  number
>;

/**
 * Registers what is missing of the search attributes, and waits until the server knows them.
 *
 * @throws when an attribute of that name has another type
 */
export async function registerSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  const missing = await missingSearchAttributes(connection, namespace);
  if (missing.length === 0) return;
  await connection.operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(missing.map(({ name, kind }) => [name, INDEXED_VALUE_TYPES[kind]])),
  });
  await waitUntil(
    'The registration of search attributes',
    async () => (await missingSearchAttributes(connection, namespace)).length === 0,
    { seconds: READY_SECONDS },
  );
}

/** Search attributes that the namespace does not have yet. */
export async function missingSearchAttributes(
  connection: Connection,
  namespace: string,
): Promise<readonly { readonly name: string; readonly kind: SearchAttributeKind }[]> {
  const known = await connection.operatorService.listSearchAttributes({ namespace });
  const custom: Readonly<Record<string, number>> = known.customAttributes;
  return Object.values(SEARCH_ATTRIBUTES).filter(({ name, kind }) => {
    const type = custom[name];
    if (type === undefined) return true;
    if (type !== INDEXED_VALUE_TYPES[kind]) {
      throw new Error(`search attribute ${name} is there with another type than ${kind}`);
    }
    return false;
  });
}

/** Keeps closed runs of the embedded server for a month. */
export async function keepClosedRuns(connection: Connection, namespace: string): Promise<void> {
  const described = await connection.workflowService.describeNamespace({ namespace });
  if ((optionalTsToMs(described.config?.workflowExecutionRetentionTtl) ?? 0) >= RETENTION_MS) return;
  await connection.workflowService.updateNamespace({
    namespace,
    config: { workflowExecutionRetentionTtl: msToTs(RETENTION_MS) },
  });
}
