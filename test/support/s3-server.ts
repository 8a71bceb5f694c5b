/** A real S3 server for tests: versitygw on a temporary folder and a free port. */
import { execa } from 'execa';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOOPBACK, listeningPorts } from '../../infra/dev/stack/ports.js';
import { ObjectStore } from '../../src/store/index.js';
import type { StoreSettings } from '../../src/store/index.js';
import { parseUrl } from '../../src/contracts/layout.js';
import { serverBinary } from './binaries.js';

/** The bucket that every test server has. */
export const TEST_BUCKET = 'longhaul-test';

/** Where nobody listens, whatever else runs on this machine: no program is given a port below 1024. */
export const NOBODY = `http://${LOOPBACK}:1`;

const REGION = 'us-east-1';
const CREDENTIALS = { accessKeyId: 'longhaul-test', secretAccessKey: 'longhaul-test-secret' };

/** A running server. */
export interface TestS3 {
  readonly endpoint: string;
  /** What a process needs in its environment to reach the server: the trainer's variables and the SDK's. */
  readonly environment: Readonly<Record<string, string>>;
  /** A store on it, closed with the server; `overrides`: another endpoint (a proxy), fewer tries. */
  readonly connect: (overrides?: Partial<StoreSettings>) => ObjectStore;
  /** The local file behind an object, for damage that the server does not hear of. */
  readonly fileOf: (url: string) => string;
  readonly stop: () => Promise<void>;
}

/**
 * Starts a server and puts its credentials into this process's environment, where the AWS SDK looks for them.
 * @throws when the server ends instead of listening.
 */
export async function startS3Server(): Promise<TestS3> {
  const folder = await mkdtemp(path.join(tmpdir(), 'longhaul-s3-'));
  await mkdir(path.join(folder, TEST_BUCKET));
  // The system picks the port: one that was free a moment ago may be taken by now.
  const server = execa(serverBinary('versitygw'), ['--quiet', '--port', `${LOOPBACK}:0`, 'posix', folder], {
    extendEnv: false,
    env: {
      PATH: process.env['PATH'],
      ROOT_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      ROOT_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    },
    stdio: 'ignore',
    reject: false,
  });
  const port = await portOf(server);
  if (port === undefined) {
    server.kill();
    await server;
    await rm(folder, { recursive: true, force: true });
    throw new Error('versitygw did not start listening');
  }
  const endpoint = `http://${LOOPBACK}:${String(port)}`;
  const environment = {
    LONGHAUL_S3_ENDPOINT: endpoint,
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  };
  Object.assign(process.env, environment);
  const stores: ObjectStore[] = [];
  const stop = async (): Promise<void> => {
    for (const store of stores) store.close();
    server.kill();
    await server;
    await rm(folder, { recursive: true, force: true });
  };
  return {
    endpoint,
    environment,
    connect: (overrides = {}) => {
      const store = ObjectStore.connect({ endpoint, region: REGION, ...overrides });
      stores.push(store);
      return store;
    },
    fileOf: (url) => {
      const { bucket, key } = parseUrl(url);
      return path.join(folder, bucket, key);
    },
    stop,
  };
}

/** The port that a server has bound, once it has; undefined when it ends before. */
async function portOf(server: {
  readonly pid?: number | undefined;
  readonly exitCode: number | null;
}): Promise<number | undefined> {
  while (server.exitCode === null && server.pid !== undefined) {
    const [port] = await listeningPorts(server.pid);
    if (port !== undefined) return port;
    await sleep(25);
  }
  return undefined;
}
