import { Connection } from '@temporalio/client';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startStack } from '../../infra/dev/stack.js';
import { freePort } from '../../infra/dev/stack/ports.js';
import { startS3 } from '../../infra/dev/stack/s3.js';
import { PortTakenError } from '../../infra/dev/stack/server-process.js';
import { startTemporal } from '../../infra/dev/stack/temporal.js';
import { serverBinary } from '../support/binaries.js';
import { startServer } from '../support/workflow-environment.js';

const binDir = dirname(serverBinary('temporal'));
const credentials = { accessKeyId: 'longhaul-test', secretAccessKey: 'longhaul-test-secret' };

let folder: string;
/** Somebody else's server, which answers as an S3 server does whose credentials are others. */
let other: Server;
let taken: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-ports-'));
  other = createServer((_request, response) => void response.writeHead(403).end());
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  taken = (other.address() as AddressInfo).port;
});
afterEach(async () => {
  other.closeAllConnections();
  await new Promise((resolve) => other.close(resolve));
  await rm(folder, { recursive: true });
});

describe('a port that is taken between its choice and its use', () => {
  it('is told of by the S3 server, and who has it is not taken for ours', async () => {
    const starting = startS3({ binDir, dataDir: folder, logDir: folder, port: taken, credentials });
    await expect(starting).rejects.toBeInstanceOf(PortTakenError);
  });

  it.each(['port', 'uiPort'] as const)('is told of by the Temporal server, as %s', async (which) => {
    const ports = { port: await freePort([]), uiPort: await freePort([]), [which]: taken };
    const starting = startTemporal({ binDir, dataDir: folder, logDir: folder, ...ports });
    await expect(starting).rejects.toBeInstanceOf(PortTakenError);
  });

  it('is replaced when it is one of those that are tried first', async () => {
    const stack = await startStack({
      dataDir: join(folder, 'data'),
      ports: { temporal: taken, ui: taken, s3: taken },
    });
    try {
      for (const address of [`http://${stack.temporalAddress}`, stack.uiUrl, stack.s3Endpoint])
        expect(new URL(address).port).not.toBe(String(taken));
      expect((await fetch(stack.uiUrl)).status).toBe(200);
    } finally {
      await stack.stop();
    }
  });
});

describe('another Temporal server at the chosen port', () => {
  let somebodys: Awaited<ReturnType<typeof startServer>>;
  beforeAll(async () => {
    somebodys = await startServer();
  });
  afterAll(() => somebodys.teardown());

  it('is not taken for ours, though it answers', async () => {
    const { address } = somebodys;
    const port = Number(address.split(':')[1]);
    await (await Connection.connect({ address })).close();
    const starting = startTemporal({ binDir, dataDir: folder, logDir: folder, port, uiPort: taken });
    await expect(starting).rejects.toBeInstanceOf(PortTakenError);
  });
});
