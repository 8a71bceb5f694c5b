/** The S3 server: how it is started, when it is ready, and the bucket in it. */
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { S3Credentials } from './credentials.js';
import { LOOPBACK, listeningPorts } from './ports.js';
import { startServer } from './server-process.js';
import type { StartedServer } from './server-process.js';

/** Region that the server says it is in. */
export const REGION = 'us-east-1';

/** Far more than it takes: a busy machine is slow, and a server that can't start ends. */
const READY_SECONDS = 300;

/**
 * Starts the server on a folder and waits until it answers. Credentials go by its environment, never by arguments.
 *
 * @throws {PortTakenError}
 */
export async function startS3(options: {
  readonly binDir: string;
  readonly dataDir: string;
  readonly logDir: string;
  readonly port: number;
  readonly credentials: S3Credentials;
  readonly signal?: AbortSignal | undefined;
}): Promise<StartedServer> {
  const folder = folderOf(options.dataDir);
  await mkdir(folder, { recursive: true });
  return startServer({
    name: 'the S3 server',
    file: path.join(options.binDir, 'versitygw'),
    args: ['--port', `${LOOPBACK}:${String(options.port)}`, '--keep-alive', '--quiet', 'posix', folder],
    env: {
      ...withoutOtherSettings(process.env),
      VGW_REGION: REGION,
      ROOT_ACCESS_KEY_ID: options.credentials.accessKeyId,
      ROOT_SECRET_ACCESS_KEY: options.credentials.secretAccessKey,
    },
    logFile: path.join(options.logDir, 'versitygw.log'),
    seconds: READY_SECONDS,
    signal: options.signal,
    isReady: async (pid) =>
      (await listeningPorts(pid)).has(options.port) &&
      isS3Ready(`http://${LOOPBACK}:${String(options.port)}`),
  });
}

/** Port that a process was told; undefined unless it is the S3 server of that folder. */
export function s3PortOf(command: string, dataDir: string): { readonly s3: number } | undefined {
  const [program = '', rest] = command.split(` --port ${LOOPBACK}:`);
  const port = /^\d+ /.exec(rest ?? '')?.[0].trim();
  const isServer =
    path.basename(program) === 'versitygw' && rest?.endsWith(` posix ${folderOf(dataDir)}`) === true;
  return isServer && port !== undefined ? { s3: Number(port) } : undefined;
}

const folderOf = (dataDir: string): string => path.join(dataDir, 's3');

/** Settings and credentials in the user's environment are for other servers. */
function withoutOtherSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(VGW|AWS|ROOT)_/.test(name)));
}

/** Whether an S3 server answers; without credentials it refuses, which is an answer too. */
export async function isS3Ready(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(endpoint, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status < 500;
  } catch {
    return false;
  }
}

/** Makes sure of the bucket. Without credentials the AWS SDK looks for some, in the environment first. */
export async function createBucket(options: {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly credentials?: S3Credentials;
}): Promise<void> {
  const { bucket, ...settings } = options;
  const client = new S3Client({ ...settings, forcePathStyle: true });
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  } catch (error) {
    if (!(error instanceof Error && error.name === 'BucketAlreadyOwnedByYou')) throw error;
  } finally {
    client.destroy();
  }
}
