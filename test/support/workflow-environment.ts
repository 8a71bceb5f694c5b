/** A real Temporal server with the project's search attributes, and workers with the real workflow code on it. */
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onFreePorts } from '../../infra/dev/stack/free-ports.js';
import { LOOPBACK } from '../../infra/dev/stack/ports.js';
import { stopProcess } from '../../infra/dev/stack/server-process.js';
import { NAMESPACE, registerSearchAttributes, startTemporal } from '../../infra/dev/stack/temporal.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { serverBinary } from './binaries.js';

let bundle: Promise<WorkflowBundleWithSourceMap> | undefined;

/** The workflow bundle, made once per test file. */
export function testBundle(): Promise<WorkflowBundleWithSourceMap> {
  bundle ??= bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../../workflows/index.ts', import.meta.url)),
    payloadConverterPath: fileURLToPath(new URL('../../workflows/payload-converter.ts', import.meta.url)),
    failureConverterPath: fileURLToPath(new URL('../../workflows/failure-converter.ts', import.meta.url)),
    logger: new DefaultLogger('ERROR'),
  });
  return bundle;
}

/** Starts the pinned server on free ports, with its data in memory. Tear it down with `teardown()`. */
export async function startServer(): Promise<TestWorkflowEnvironment> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const logDir = await mkdtemp(join(tmpdir(), 'longhaul-temporal-'));
  const binDir = dirname(serverBinary('temporal'));
  const { server, address } = await onFreePorts(new Set(), async (choose) => {
    const ports = { port: await choose([]), uiPort: await choose([]) };
    const started = await startTemporal({ binDir, dataDir: null, logDir, ...ports });
    return { server: started, address: `${LOOPBACK}:${String(ports.port)}` };
  });
  const environment = await TestWorkflowEnvironment.createFromExistingServer({ address });
  await registerSearchAttributes(environment.connection, NAMESPACE);
  const disconnect = environment.teardown.bind(environment);
  return Object.assign(environment, {
    teardown: async () => {
      await disconnect();
      await stopProcess(server.identity);
      await rm(logDir, { recursive: true });
    },
  });
}

/** Runs `body` beside a worker that has the real workflows and the given activities. */
export async function withWorker<T>(
  environment: TestWorkflowEnvironment,
  activities: object,
  body: () => Promise<T>,
): Promise<T> {
  const worker = await Worker.create({
    connection: environment.nativeConnection,
    taskQueue: TASK_QUEUE,
    workflowBundle: await testBundle(),
    activities,
    // A cancellation reaches an activity with the answer to a heartbeat: at once, not after most of the heartbeat timeout.
    maxHeartbeatThrottleInterval: '100ms',
  });
  return worker.runUntil(body());
}
