/**
 * The embedded stack: a Temporal dev server and an S3 server on a folder, both real, both on the loopback address
 * only. Servers that already run from the folder are adopted; whoever finds their starter gone inherits them.
 */
import { Connection } from '@temporalio/client';
import { existsSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { takeLock } from './lib/lock.mjs';
import { STATE_DIR } from './setup.mjs';
import { loadCredentials } from './stack/credentials.js';
import type { S3Credentials } from './stack/credentials.js';
import { asStackError, prepareFolder, StackError } from './stack/folder.js';
import { onFreePorts } from './stack/free-ports.js';
import { endJobs, endWorkers } from './stack/leftovers.js';
import { LOOPBACK } from './stack/ports.js';
import { adoptS3, adoptTemporal, endOf, runningServers } from './stack/running.js';
import type { RunningServers } from './stack/running.js';
import { createBucket, REGION, startS3 } from './stack/s3.js';
import { identify, isRunning, stopProcess } from './stack/server-process.js';
import type { ProcessIdentity, StartedServer } from './stack/server-process.js';
import { readState, writeState } from './stack/state.js';
import type { StackPorts, StackState } from './stack/state.js';
import { keepClosedRuns, NAMESPACE, registerSearchAttributes, startTemporal } from './stack/temporal.js';
import { messageOf } from '../../src/domain/lib/text.js';
import { loopbackWithoutProxy } from '../../src/domain/lib/loopback.js';

/** Ports that are tried first. */
export const DEFAULT_PORTS = { temporal: 7233, ui: 8233, s3: 7070 } as const;

/** Bucket of the embedded store. */
export const BUCKET = 'longhaul';

const NO_PORTS: StackPorts = { temporal: 0, ui: 0, s3: 0 };

/** Where the stack lives. */
export interface StackOptions {
  /** Folder of everything the servers keep. */
  readonly dataDir: string;
  /** Folder of `temporal` and `versitygw`; that of set-up by default. */
  readonly binDir?: string;
  /** Folder of the servers' logs; `logs` in the data folder by default. */
  readonly logDir?: string;
  /** Resolve when the binary of that server is there; both are by default. */
  readonly binaries?: Readonly<Record<'temporal' | 'versitygw', Promise<void>>>;
  /** Ports to try first; a taken one is replaced. 0 means any free one. */
  readonly ports?: Partial<StackPorts>;
  /** Gives up the start; servers that were started meanwhile are stopped. */
  readonly signal?: AbortSignal;
  /** Told what the start waits for, and what an earlier one has left, in sentences. */
  readonly onNote?: (sentence: string) => void;
  /** Told the http address of the Temporal UI as soon as that answers, which may be long before the S3 server does. */
  readonly onUi?: (uiUrl: string) => void;
}

/** A running stack. */
export interface Stack {
  /** Real path of the folder of everything that the servers keep. */
  readonly dataDir: string;
  /** host:port of the Temporal frontend. */
  readonly temporalAddress: string;
  readonly namespace: string;
  /** http address of the Temporal UI, no trailing slash. */
  readonly uiUrl: string;
  readonly s3Endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** What a process needs in its environment to use the stack: `LONGHAUL_*` and `AWS_*`, the secret key included. */
  readonly environment: Readonly<Record<string, string>>;
  /** Process that started the servers and will stop them; undefined when it is this one. */
  readonly ownedBy: number | undefined;
  /** Servers that were running already. */
  readonly adopted: readonly ('temporal' | 's3')[];
  /** Resolves with a sentence when a server ends that this process did not stop, or the process that owns them. */
  readonly broken: Promise<string>;
  /**
   * Ends what runs yet of jobs, then the servers, unless another living process owns them. Jobs may save for so many seconds; none
   * by default. Safe to call twice.
   */
  stop(options?: { readonly jobSeconds?: number }): Promise<void>;
}

/**
 * Starts or adopts both servers, waits until they answer, and registers what is needed in them.
 *
 * @throws {StackError} when the folder can't be used
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  Object.assign(process.env, loopbackWithoutProxy(process.env));
  const logDir = options.logDir ?? path.join(path.resolve(options.dataDir), 'logs');
  const places = {
    dataDir: await prepareFolder(path.resolve(options.dataDir), logDir),
    binDir: options.binDir ?? path.join(STATE_DIR, 'bin'),
    logDir,
  };
  try {
    const unlock = await takeLock(lockOf(places.dataDir), {
      ...options,
      onWait: (pid) => options.onNote?.(`Process ${String(pid)} starts or stops the servers here: waiting …`),
    });
    try {
      return await startLocked(places, options);
    } finally {
      await unlock();
    }
  } catch (error) {
    throw asStackError(error);
  }
}

const lockOf = (dataDir: string): string => path.join(dataDir, 'stack.lock');

async function startLocked(places: Places, options: StackOptions): Promise<Stack> {
  const { dataDir } = places;
  const { ports: wanted = {}, signal } = options;
  const credentials = await loadCredentials(dataDir);
  const before = await readState(dataDir);
  const running = await runningServers(dataDir);
  const owner = await ownerOf(before, running);
  // Whoever comes after this process, should it be killed now, finds that it was the owner.
  await writeState(dataDir, { owner: owner.identity, ports: before?.ports ?? NO_PORTS });
  if (!owner.isOther) {
    await endWorkers(dataDir, (pid) =>
      options.onNote?.(`Ending worker ${String(pid)}, which an earlier start has left …`),
    );
  }
  const servers = await runServers(places, credentials, running, {
    ...options,
    wanted,
    last: before?.ports ?? NO_PORTS,
    signal,
  });
  await writeState(dataDir, { owner: owner.identity, ports: servers.ports });
  const stack = toStack(servers, credentials, owner, dataDir);
  try {
    await prepare(stack, credentials);
  } catch (error) {
    if (!owner.isOther) await stopServers(servers, dataDir);
    throw error;
  }
  return stack;
}

/**
 * Environment of the stack that runs from a folder, for programs that were started beside it; undefined when none
 * does. Starts nothing.
 */
export async function runningStackEnvironment(
  dataDir: string,
): Promise<Readonly<Record<string, string>> | undefined> {
  if (!existsSync(dataDir)) return undefined;
  const folder = await realpath(dataDir);
  const { temporal, s3 } = await runningServers(folder);
  const ports = temporal[0] !== undefined && s3[0] !== undefined && { ...temporal[0].ports, ...s3[0].ports };
  return ports === false ? undefined : environmentOf(addressesOf(ports), await loadCredentials(folder));
}

interface Addresses {
  readonly temporalAddress: string;
  readonly uiUrl: string;
  readonly s3Endpoint: string;
}

function addressesOf(ports: StackPorts): Addresses {
  return {
    temporalAddress: `${LOOPBACK}:${String(ports.temporal)}`,
    uiUrl: uiUrlOf(ports),
    s3Endpoint: `http://${LOOPBACK}:${String(ports.s3)}`,
  };
}

const uiUrlOf = ({ ui }: Pick<StackPorts, 'ui'>): string => `http://${LOOPBACK}:${String(ui)}`;

function environmentOf(addresses: Addresses, credentials: S3Credentials): Readonly<Record<string, string>> {
  return {
    LONGHAUL_TEMPORAL_ADDRESS: addresses.temporalAddress,
    LONGHAUL_TEMPORAL_NAMESPACE: NAMESPACE,
    LONGHAUL_TEMPORAL_UI: addresses.uiUrl,
    LONGHAUL_S3_ENDPOINT: addresses.s3Endpoint,
    LONGHAUL_S3_REGION: REGION,
    LONGHAUL_S3_BUCKET: BUCKET,
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
}

interface Places {
  /** Real path. */
  readonly dataDir: string;
  readonly binDir: string;
  readonly logDir: string;
}

interface Server extends StartedServer {
  readonly adopted: boolean;
}

interface Servers {
  readonly ports: StackPorts;
  readonly temporal: Server;
  readonly s3: Server;
}

interface StartChoice extends Pick<StackOptions, 'binaries' | 'onUi'> {
  /** Ports that the caller asked for. */
  readonly wanted: Partial<StackPorts>;
  /** What they were last time: links in a browser keep working. */
  readonly last: StackPorts;
  readonly signal: AbortSignal | undefined;
}

async function runServers(
  places: Places,
  credentials: S3Credentials,
  running: RunningServers,
  { wanted, last, signal, binaries, onUi }: StartChoice,
): Promise<Servers> {
  const [temporal, s3] = await Promise.all([adoptTemporal(running.temporal), adoptS3(running.s3)]);
  const taken = new Set(Object.values({ ...temporal?.ports, ...s3?.ports }));
  const candidates = (name: keyof StackPorts) => [last[name], wanted[name] ?? DEFAULT_PORTS[name]];
  const startedTemporal = async () => {
    await unlessAborted(binaries?.temporal, signal);
    return onFreePorts(taken, async (choose) => {
      const ports = { temporal: await choose(candidates('temporal')), ui: await choose(candidates('ui')) };
      return {
        ports,
        ...(await startTemporal({ ...places, port: ports.temporal, uiPort: ports.ui, signal })),
      };
    });
  };
  const startedS3 = async () => {
    await unlessAborted(binaries?.versitygw, signal);
    return onFreePorts(taken, async (choose) => {
      const ports = { s3: await choose(candidates('s3')) };
      return { ports, ...(await startS3({ ...places, port: ports.s3, credentials, signal })) };
    });
  };
  const runningTemporal =
    temporal === undefined ? asServer(startedTemporal(), false) : asServer(Promise.resolve(temporal), true);
  void runningTemporal.then(
    ({ ports }) => onUi?.(uiUrlOf(ports)),
    () => undefined,
  );
  const both = await bothOrNeither(
    runningTemporal,
    s3 === undefined ? asServer(startedS3(), false) : asServer(Promise.resolve(s3), true),
  );
  return { ...both, ports: { ...both.temporal.ports, ...both.s3.ports } };
}

/** Waits for something, but no longer than until the signal. */
async function unlessAborted(
  what: Promise<void> = Promise.resolve(),
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  const aborted = new Promise<void>((resolve) => {
    signal?.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([what, aborted]);
  signal?.throwIfAborted();
}

async function asServer<T extends StartedServer>(
  server: Promise<T>,
  adopted: boolean,
): Promise<T & { readonly adopted: boolean }> {
  return { ...(await server), adopted };
}

/** Waits for both starts; when one fails, what was started is stopped before the failure is passed on. */
async function bothOrNeither<T extends Server, S extends Server>(
  temporal: Promise<T>,
  s3: Promise<S>,
): Promise<{ readonly temporal: T; readonly s3: S }> {
  const results = await Promise.allSettled([temporal, s3]);
  const failure = results.find((result) => result.status === 'rejected');
  if (failure !== undefined) {
    const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    await Promise.all(
      started.filter((server) => !server.adopted).map((server) => stopProcess(server.identity)),
    );
    throw new StackError(`The servers could not be started: ${messageOf(failure.reason)}.`, {
      cause: failure.reason,
    });
  }
  return { temporal: await temporal, s3: await s3 };
}

/** Who stops the servers. */
interface Owner {
  readonly identity: ProcessIdentity;
  readonly isOther: boolean;
}

/** Their starter while it lives, else this process. */
async function ownerOf(before: StackState | undefined, running: RunningServers): Promise<Owner> {
  const self = await identify(process.pid);
  if (self === undefined) throw new Error('this process cannot be looked up');
  const other = before?.owner ?? null;
  const someRun = running.temporal.length + running.s3.length > 0;
  if (someRun && other !== null && other.pid !== self.pid && (await isRunning(other))) {
    return { identity: other, isOther: true };
  }
  return { identity: self, isOther: false };
}

function toStack(servers: Servers, credentials: S3Credentials, owner: Owner, dataDir: string): Stack {
  const { ports, temporal, s3 } = servers;
  const addresses = addressesOf(ports);
  let stopping: Promise<void> | undefined;
  const stopEverything = async (jobSeconds: number): Promise<void> => {
    if (owner.isOther && (await isRunning(owner.identity))) return;
    const unlock = await takeLock(lockOf(dataDir));
    try {
      await endJobs(dataDir, jobSeconds);
      await stopServers(servers, dataDir);
    } finally {
      await unlock();
    }
  };
  const ends = [temporal.ended, s3.ended];
  if (owner.isOther) ends.push(endOf('the npm start that ran servers and worker here', owner.identity));
  return {
    dataDir,
    ...addresses,
    namespace: NAMESPACE,
    region: REGION,
    bucket: BUCKET,
    environment: environmentOf(addresses, credentials),
    ownedBy: owner.isOther ? owner.identity.pid : undefined,
    adopted: (['temporal', 's3'] as const).filter((name) => servers[name].adopted),
    broken: new Promise((resolve) => {
      for (const ended of ends) {
        void ended.then((sentence) => {
          if (stopping === undefined) resolve(sentence);
        });
      }
    }),
    stop: async ({ jobSeconds = 0 } = {}) => {
      stopping ??= stopEverything(jobSeconds);
      await stopping;
    },
  };
}

/** Stops both, and remembers that nobody runs them. */
async function stopServers({ temporal, s3, ports }: Servers, dataDir: string): Promise<void> {
  await Promise.all([stopProcess(temporal.identity), stopProcess(s3.identity)]);
  await writeState(dataDir, { owner: null, ports });
}

/** What has to be in the servers; all of it may be there already. */
async function prepare(stack: Stack, credentials: S3Credentials): Promise<void> {
  const connection = await Connection.connect({ address: stack.temporalAddress });
  try {
    await Promise.all([
      registerSearchAttributes(connection, stack.namespace),
      keepClosedRuns(connection, stack.namespace),
      createBucket({ endpoint: stack.s3Endpoint, region: REGION, bucket: stack.bucket, credentials }),
    ]);
  } finally {
    await connection.close();
  }
}
