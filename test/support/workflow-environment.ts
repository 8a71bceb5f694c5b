/** A real Temporal server with the project's search attributes, and workers with the real workflow code on it. */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { fileURLToPath } from 'node:url';
import { SEARCH_ATTRIBUTES } from '../../src/domain/search-attributes.js';
import type { SearchAttributeKind } from '../../src/domain/search-attributes.js';
import { TASK_QUEUE } from '../../src/domain/task-queues.js';
import { serverBinary } from './binaries.js';

const TYPES = {
  Keyword: SearchAttributeType.KEYWORD,
  Int: SearchAttributeType.INT,
  Double: SearchAttributeType.DOUBLE,
} as const satisfies Record<SearchAttributeKind, SearchAttributeType>;

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

/** Starts the pinned server on a free port. Tear it down with `teardown()`. */
export async function startServer(): Promise<TestWorkflowEnvironment> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  return TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: serverBinary('temporal') },
      searchAttributes: Object.values(SEARCH_ATTRIBUTES).map(({ name, kind }) =>
        defineSearchAttributeKey(name, TYPES[kind]),
      ),
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
  });
  return worker.runUntil(body());
}
