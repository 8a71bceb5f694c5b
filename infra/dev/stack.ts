/**
 * The embedded stack: a Temporal dev server and an S3 server on a folder, both real, both on the loopback address
 * only. Servers that already run from the folder are adopted; whoever finds their starter gone inherits them.
 */
import { Connection } from '@temporalio/client';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from './lib/files.mjs';
import { takeLock } from './lib/lock.mjs';
import { STATE_DIR } from './setup.mjs';
import { loadCredentials } from './stack/credentials.js';
import type { S3Credentials } from './stack/credentials.js';
import { freePort, LOOPBACK } from './stack/ports.js';
import { createBucket, isS3Ready, REGION, startS3 } from './stack/s3.js';
import { identify, isRunning, processIdentitySchema, stopProcess } from './stack/server-process.js';
import type { ProcessIdentity, StartedServer } from './stack/server-process.js';
import {
  isTemporalReady,
  keepClosedRuns,
  NAMESPACE,
  registerSearchAttributes,
  startTemporal,
} from './stack/temporal.js';
import { messageOf } from '../../src/domain/text.js';

/** Ports that are tried first. */
export const DEFAULT_PORTS = { temporal: 7233, ui: 8233, s3: 7070 } as const;

/** Bucket of the embedded store. */
export const BUCKET = 'longhaul';

/** Ports of the stack. */
export interface StackPorts {
  readonly temporal: number;
  readonly ui: number;
  readonly s3: number;
}

/** Where the stack lives. */
export interface StackOptions {
  /** Folder of everything the servers keep. */
  readonly dataDir: string;
  /** Folder of `temporal` and `versitygw`; that of set-up by default. */
  readonly binDir?: string;
  /** Folder of the servers' logs; `logs` in the data folder by default. */
  readonly logDir?: string;
  /** Ports to try first; a taken one is replaced. 0 means any free one. */
  readonly ports?: Partial<StackPorts>;
}

/** A running stack. */
export interface Stack {
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
  /** Resolves with a sentence when a server ends that this process started and did not stop. */
  readonly broken: Promise<string>;
  /** Stops the servers, unless another living process owns them. Safe to call twice. */
  stop(): Promise<void>;
}

const stateSchema = z.strictObject({
  schema: z.literal('longhaul.stack/1'),
  owner: processIdentitySchema.nullable(),
  ports: z.strictObject({ temporal: z.int(), ui: z.int(), s3: z.int() }),
  temporal: processIdentitySchema.nullable(),
  s3: processIdentitySchema.nullable(),
});
type State = z.infer<typeof stateSchema>;

/** Starts or adopts both servers, waits until they answer, and registers what is needed in them. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const places = {
    dataDir: path.resolve(options.dataDir),
    binDir: options.binDir ?? path.join(STATE_DIR, 'bin'),
    logDir: options.logDir ?? path.join(path.resolve(options.dataDir), 'logs'),
  };
  await mkdir(places.dataDir, { recursive: true });
  const unlock = await takeLock(path.join(places.dataDir, 'stack.lock'));
  try {
    const credentials = await loadCredentials(places.dataDir);
    const stateFile = path.join(places.dataDir, 'stack.json');
    const before = await readState(stateFile);
    const servers = await runServers(places, credentials, before, options.ports ?? {});
    const owner = await ownerOf(before, servers.temporal.adopted || servers.s3.adopted);
    await writeState(stateFile, {
      owner: owner.identity,
      ports: servers.ports,
      temporal: servers.temporal.identity,
      s3: servers.s3.identity,
    });
    const stack = toStack(servers, credentials, owner.isOther ? owner.identity.pid : undefined, stateFile);
    await prepare(stack, credentials);
    return stack;
  } finally {
    await unlock();
  }
}

/**
 * Environment of the stack that runs from a folder, for programs that were started beside it; undefined when none
 * does. Starts nothing.
 */
export async function runningStackEnvironment(
  dataDir: string,
): Promise<Readonly<Record<string, string>> | undefined> {
  const state = await readState(path.join(dataDir, 'stack.json'));
  if (state === undefined || state.temporal === null || state.s3 === null) return undefined;
  if (!(await isRunning(state.temporal)) || !(await isRunning(state.s3))) return undefined;
  return environmentOf(addressesOf(state.ports), await loadCredentials(dataDir));
}

interface Addresses {
  readonly temporalAddress: string;
  readonly uiUrl: string;
  readonly s3Endpoint: string;
}

function addressesOf(ports: StackPorts): Addresses {
  return {
    temporalAddress: `${LOOPBACK}:${String(ports.temporal)}`,
    uiUrl: `http://${LOOPBACK}:${String(ports.ui)}`,
    s3Endpoint: `http://${LOOPBACK}:${String(ports.s3)}`,
  };
}

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

async function readState(file: string): Promise<State | undefined> {
  const parsed = stateSchema.safeParse(await readJson(file));
  return parsed.success ? parsed.data : undefined;
}

async function writeState(file: string, state: Omit<State, 'schema'>): Promise<void> {
  await writeJson(file, { schema: 'longhaul.stack/1', ...state });
}

interface Places {
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

async function runServers(
  places: Places,
  credentials: S3Credentials,
  before: State | undefined,
  wanted: Partial<StackPorts>,
): Promise<Servers> {
  const [temporal, s3] = await Promise.all([
    adopt(before?.temporal, () => isTemporalReady(`${LOOPBACK}:${String(before?.ports.temporal)}`)),
    adopt(before?.s3, () => isS3Ready(`http://${LOOPBACK}:${String(before?.ports.s3)}`)),
  ]);
  const ports = await choosePorts(wanted, before?.ports, {
    temporal: temporal !== undefined,
    s3: s3 !== undefined,
  });
  return {
    ports,
    ...(await bothOrNeither(
      temporal ?? asStarted(startTemporal({ ...places, port: ports.temporal, uiPort: ports.ui })),
      s3 ?? asStarted(startS3({ ...places, port: ports.s3, credentials })),
    )),
  };
}

async function asStarted(server: Promise<StartedServer>): Promise<Server> {
  return { ...(await server), adopted: false };
}

/** Waits for both starts; when one fails, what was started is stopped before the failure is passed on. */
async function bothOrNeither(
  temporal: Server | Promise<Server>,
  s3: Server | Promise<Server>,
): Promise<{ temporal: Server; s3: Server }> {
  try {
    const results = await Promise.allSettled([temporal, s3]);
    const failure = results.find((result) => result.status === 'rejected');
    if (failure !== undefined) {
      const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      await Promise.all(
        started.filter((server) => !server.adopted).map((server) => stopProcess(server.identity)),
      );
    }
    return { temporal: await temporal, s3: await s3 };
  } catch (error) {
    throw new Error(`the servers could not be started: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** The recorded server if it runs and answers. One that runs and doesn't answer is stopped, to be started anew. */
async function adopt(
  recorded: ProcessIdentity | null | undefined,
  answers: () => Promise<boolean>,
): Promise<Server | undefined> {
  if (recorded === null || recorded === undefined || !(await isRunning(recorded))) return undefined;
  if (await answers()) return { identity: recorded, adopted: true, ended: new Promise(() => undefined) };
  await stopProcess(recorded);
  return undefined;
}

/** Ports of adopted servers stay; others are those of last time if free, so that links in a browser keep working. */
async function choosePorts(
  wanted: Partial<StackPorts>,
  before: StackPorts | undefined,
  adopted: { readonly temporal: boolean; readonly s3: boolean },
): Promise<StackPorts> {
  const taken = new Set<number>();
  const choose = async (name: keyof StackPorts, isAdopted: boolean): Promise<number> => {
    const last = before?.[name];
    const asked = wanted[name];
    const candidates = [last ?? 0, asked ?? DEFAULT_PORTS[name]].filter((port) => port !== 0);
    const port = isAdopted && last !== undefined ? last : await freePort(candidates, taken);
    taken.add(port);
    return port;
  };
  const temporal = await choose('temporal', adopted.temporal);
  const ui = await choose('ui', adopted.temporal);
  const s3 = await choose('s3', adopted.s3);
  return { temporal, ui, s3 };
}

/** Who stops the servers: their starter while it lives, else this process. */
async function ownerOf(
  before: State | undefined,
  someAdopted: boolean,
): Promise<{ readonly identity: ProcessIdentity; readonly isOther: boolean }> {
  const self = await identify(process.pid);
  if (self === undefined) throw new Error('this process cannot be looked up');
  const other = before?.owner;
  if (
    someAdopted &&
    other !== null &&
    other !== undefined &&
    other.pid !== self.pid &&
    (await isRunning(other))
  ) {
    return { identity: other, isOther: true };
  }
  return { identity: self, isOther: false };
}

function toStack(
  servers: Servers,
  credentials: S3Credentials,
  ownedBy: number | undefined,
  stateFile: string,
): Stack {
  const { ports, temporal, s3 } = servers;
  const addresses = addressesOf(ports);
  let stopping: Promise<void> | undefined;
  const stopBoth = async (): Promise<void> => {
    await Promise.all([stopProcess(temporal.identity), stopProcess(s3.identity)]);
    await writeState(stateFile, { owner: null, ports, temporal: null, s3: null });
  };
  return {
    ...addresses,
    namespace: NAMESPACE,
    region: REGION,
    bucket: BUCKET,
    environment: environmentOf(addresses, credentials),
    ownedBy,
    adopted: (['temporal', 's3'] as const).filter((name) => servers[name].adopted),
    broken: new Promise((resolve) => {
      for (const { ended } of [temporal, s3]) {
        void ended.then((sentence) => {
          if (stopping === undefined) resolve(sentence);
        });
      }
    }),
    stop: async () => {
      if (ownedBy !== undefined) return;
      stopping ??= stopBoth();
      await stopping;
    },
  };
}

/** What has to be in the servers; all of it may be there already. A stack that can't be prepared is stopped. */
async function prepare(stack: Stack, credentials: S3Credentials): Promise<void> {
  try {
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
  } catch (error) {
    await stack.stop();
    throw error;
  }
}
