/** The worker process: workflows and activities of recipes, until it is told to end. */
import { NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createActivities } from '../activities/index.js';
import type { ActivityDependencies } from '../activities/index.js';
import { LocalBackend } from './backends/local/local.js';
import { codeDigest } from './code-digest.js';
import { loadConfig } from './config.js';
import type { Config } from './config.js';
import type { SourceRoots } from './curation/index.js';
import { loopbackWithoutProxy } from './domain/lib/loopback.js';
import { ensureJanitor } from './temporal/janitor-schedule.js';
import { TASK_QUEUE } from './domain/run/task-queues.js';
import { ObjectStore } from './store/object-store.js';
import { temporalConnectionOptions } from './temporal/connection.js';
import { createLogger, temporalLogger } from './telemetry.js';
import { endWithStarter, WITH_STARTER } from './with-starter.js';
import { workflowBundle } from './workflow-bundle.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Those that watch jobs hand them over as soon as they hear of the signal to end; the short ones don't listen, and end by themselves. */
const SHUTDOWN_GRACE = 0;
/** Time that activities have then, to hand their jobs over or to see them stopped. */
const SHUTDOWN_LIMIT = '2 minutes';

/** Runs a worker until SIGTERM or SIGINT; then jobs are handed over or stopped, as configured. */
export async function runWorker(config: Config): Promise<void> {
  const logger = createLogger(config, 'worker');
  Runtime.install({ logger: temporalLogger(logger), shutdownSignals: ['SIGTERM', 'SIGINT'] });
  const connection = await NativeConnection.connect(temporalConnectionOptions(config));
  try {
    const worker = await Worker.create({
      connection,
      namespace: config.temporal.namespace,
      taskQueue: TASK_QUEUE,
      workflowBundle: await workflowBundle(join(root, '.longhaul', 'cache')),
      activities: createActivities(dependencies(config)),
      shutdownGraceTime: SHUTDOWN_GRACE,
      shutdownForceTime: SHUTDOWN_LIMIT,
      maxCachedWorkflows: 100,
    });
    logger.info({ taskQueue: TASK_QUEUE, temporal: config.temporal.address }, 'worker is ready');
    // Without its schedule there is no janitor: orphans then end by their leases, which is no reason not to work.
    void ensureJanitor(connection, config.temporal.namespace).catch((error: unknown) =>
      logger.warn({ error: String(error) }, 'the janitor could not be scheduled'),
    );
    await worker.run();
  } finally {
    await connection.close();
  }
}

/** What the activities work with, from the configuration. */
export function dependencies(config: Config): ActivityDependencies {
  const { endpoint, region } = config.s3;
  const trainerCode = codeDigest(join(root, 'infra', 'trainer'));
  return {
    store: ObjectStore.connect(config.s3),
    storeSettings: { endpoint, region },
    backend: new LocalBackend(join(config.dataDir, 'jobs'), config.limits),
    jobs: {
      command: [config.trainerPython, '-m', 'longhaul_trainer'],
      environment: { ...jobEnvironment(config), LONGHAUL_IMAGE: trainerCode },
      onShutdown: config.onShutdown,
      codeDigest: trainerCode,
    },
    rootUrl: config.s3.rootUrl,
    buckets: config.s3.buckets,
    roots: sourceRoots(config),
    modelsFolder: join(root, 'models'),
    cacheFolder: join(config.dataDir, 'cache'),
    maxCurations: config.limits.maxCurations,
    runUiUrl: (run) => `${config.temporal.uiUrl}/namespaces/${config.temporal.namespace}/workflows/${run}`,
  };
}

/** Credentials are not in here: local jobs inherit them, as `src/domain/lib/inherited-environment.mjs` lists it, from the worker's environment. */
function jobEnvironment(config: Config): Record<string, string> {
  const { endpoint, region } = config.s3;
  return {
    PYTHONPATH: join(root, 'infra', 'trainer'),
    PYTHONUNBUFFERED: '1',
    // Compiled modules halve a job's start; where a machine's environment forbids them, empty means: allow.
    PYTHONDONTWRITEBYTECODE: '',
    ...loopbackWithoutProxy(process.env),
    ...(endpoint === undefined ? {} : { LONGHAUL_S3_ENDPOINT: endpoint }),
    LONGHAUL_S3_REGION: region,
    AWS_REGION: region,
  };
}

/** Where sources are looked up, and what they must lie below. */
function sourceRoots({ trainerPython, dataRoots }: Config): SourceRoots {
  const npm = join(root, 'node_modules');
  const python = sitePackages(trainerPython);
  const allowed = dataRoots ?? [join(root, 'data'), npm, python];
  return { project: root, npm, python, interpreter: trainerPython, allowed };
}

/** `site-packages` of the environment that a Python belongs to. */
function sitePackages(python: string): string {
  const lib = join(python, '..', '..', 'lib');
  const version = existsSync(lib) ? readdirSync(lib).find((name) => /^python3\.\d+$/.test(name)) : undefined;
  return join(lib, version ?? 'python3', 'site-packages');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes(WITH_STARTER)) endWithStarter();
  Object.assign(process.env, loopbackWithoutProxy(process.env));
  await runWorker(loadConfig());
}
