/**
 * Configuration of the control plane's processes, from the environment alone. Credentials are not part of it: the
 * AWS SDK and the Temporal client read theirs from `AWS_*` and `TEMPORAL_API_KEY` themselves, so that nothing that
 * is logged or passed on can hold a secret.
 */
import path from 'node:path';
import { z } from 'zod';

const nonEmpty = z.string().min(1, 'must not be empty');

const port = '[0-9]{1,5}';
const hostPort = new RegExp(`^[^\\s:/]+:${port}$`);

const whole = z.coerce
  .number('expected a whole number')
  .int('expected a whole number')
  .min(1, 'must be at least 1');
const count = whole.max(1000, 'must be at most 1000');
const mebibytes = whole.max(2 ** 30, 'must be at most 1073741824');

/** Environment variables, their defaults and what they mean. Also the source of `longhaul doctor`'s list. */
const environmentSchema = z.object({
  LONGHAUL_TEMPORAL_ADDRESS: z
    .string()
    .regex(hostPort, 'expected host:port')
    .default('127.0.0.1:7233')
    .describe('Temporal frontend, host:port'),
  LONGHAUL_TEMPORAL_NAMESPACE: nonEmpty.default('default').describe('Temporal namespace'),
  LONGHAUL_TEMPORAL_TLS: z
    .enum(['true', 'false'])
    .default('false')
    .describe('true: TLS to the frontend (Temporal Cloud; an API key comes from TEMPORAL_API_KEY)'),
  LONGHAUL_TEMPORAL_UI: z
    .url({ protocol: /^https?$/, error: 'expected an http(s) URL' })
    .default('http://127.0.0.1:8233')
    .describe('Address of the Temporal UI, for links'),
  LONGHAUL_S3_ENDPOINT: z
    .url({ protocol: /^https?$/, error: 'expected an http(s) URL' })
    .optional()
    .describe('S3 endpoint; unset: AWS'),
  LONGHAUL_S3_REGION: nonEmpty.default('us-east-1').describe('S3 region'),
  LONGHAUL_S3_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'expected a bucket name')
    .default('longhaul')
    .describe('Bucket that holds datasets and runs'),
  LONGHAUL_S3_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9_.=-]+(\/[A-Za-z0-9_.=-]+)*$/, 'expected path components without slashes at the ends')
    .default('dev')
    .describe('Prefix within the bucket'),
  LONGHAUL_BACKEND: z.enum(['local']).default('local').describe('Where training jobs run'),
  LONGHAUL_ON_SHUTDOWN: z
    .enum(['detach', 'stop'])
    .default('detach')
    .describe(
      'What a worker that is told to end does with its jobs: leave them to others, or save and stop them',
    ),
  LONGHAUL_TRAINER_PYTHON: nonEmpty
    .default(path.join('.longhaul', 'venv', 'bin', 'python'))
    .describe('Python of the trainer’s environment, for local jobs'),
  LONGHAUL_DATA_DIR: nonEmpty
    .default(path.join('.longhaul', 'data'))
    .describe('Local state: job folders, server data'),
  LONGHAUL_DATA_ROOTS: z
    .string()
    .optional()
    .describe(
      'Folders, separated by ":", that the sources of recipes must lie below; unset: data of the project, its packages and those of the trainer',
    ),
  LONGHAUL_S3_BUCKETS: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]+(,[a-z0-9][a-z0-9.-]+)*$/, 'expected names of buckets, separated by commas')
    .optional()
    .describe('Buckets that recipes may name besides LONGHAUL_S3_BUCKET, separated by commas'),
  LONGHAUL_MAX_JOBS: count.default(4).describe('Local jobs that run at the same time; others wait as queued'),
  LONGHAUL_MAX_LOGS_MIB: mebibytes
    .default(2048)
    .describe('Size of the logs of all local jobs, MiB; above, those that ended first are deleted'),
  LONGHAUL_MAX_CURATIONS: count
    .default(2)
    .describe('Curations that a worker runs at the same time; others wait as queued'),
  LONGHAUL_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('Least severe level that is logged'),
});

/** Configuration of a process. */
export interface Config {
  readonly temporal: {
    /** host:port of the frontend. */
    readonly address: string;
    readonly namespace: string;
    readonly tls: boolean;
    /** http(s) address of the UI, no trailing slash. */
    readonly uiUrl: string;
  };
  readonly s3: {
    /** undefined: AWS's own endpoint for the region. */
    readonly endpoint: string | undefined;
    readonly region: string;
    readonly bucket: string;
    /** Without slashes at its ends. */
    readonly prefix: string;
    /** `s3://bucket/prefix`: datasets, models and runs lie below it. */
    readonly rootUrl: string;
    /** Every bucket that a recipe may name; the first is `bucket`. */
    readonly buckets: readonly string[];
  };
  readonly backend: 'local';
  /** What becomes of a worker's jobs when it is told to end. */
  readonly onShutdown: 'detach' | 'stop';
  /** Absolute path. */
  readonly trainerPython: string;
  /** Absolute path. */
  readonly dataDir: string;
  /** Absolute paths of the folders that sources must lie below; undefined: the project's own. */
  readonly dataRoots: readonly string[] | undefined;
  readonly limits: {
    /** Local jobs at the same time. */
    readonly maxJobs: number;
    /** Bytes of the logs of all local jobs. */
    readonly maxLogBytes: number;
    /** Curations of one worker at the same time. */
    readonly maxCurations: number;
  };
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error';
}

/** The environment does not make a configuration. The message lists every problem with the variable's name. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly problems: readonly string[]) {
    super(['The environment has problems:', ...problems.map((problem) => `  - ${problem}`)].join('\n'));
  }
}

/**
 * Reads the configuration. Variables that are set but empty count as unset; relative paths are taken from
 * `baseDir` (the working folder by default).
 *
 * @throws {ConfigError} with every problem at once.
 */
export function loadConfig(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  baseDir: string = process.cwd(),
): Config {
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = environmentSchema.safeParse(set);
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`));
  }
  const env = parsed.data;
  return {
    temporal: {
      address: env.LONGHAUL_TEMPORAL_ADDRESS,
      namespace: env.LONGHAUL_TEMPORAL_NAMESPACE,
      tls: env.LONGHAUL_TEMPORAL_TLS === 'true',
      uiUrl: env.LONGHAUL_TEMPORAL_UI.replace(/\/+$/, ''),
    },
    s3: {
      endpoint: env.LONGHAUL_S3_ENDPOINT,
      region: env.LONGHAUL_S3_REGION,
      bucket: env.LONGHAUL_S3_BUCKET,
      prefix: env.LONGHAUL_S3_PREFIX,
      rootUrl: `s3://${env.LONGHAUL_S3_BUCKET}/${env.LONGHAUL_S3_PREFIX}`,
      buckets: [env.LONGHAUL_S3_BUCKET, ...(env.LONGHAUL_S3_BUCKETS?.split(',') ?? [])],
    },
    backend: env.LONGHAUL_BACKEND,
    onShutdown: env.LONGHAUL_ON_SHUTDOWN,
    trainerPython: path.resolve(baseDir, env.LONGHAUL_TRAINER_PYTHON),
    dataDir: path.resolve(baseDir, env.LONGHAUL_DATA_DIR),
    dataRoots: env.LONGHAUL_DATA_ROOTS?.split(path.delimiter)
      .filter((folder) => folder !== '')
      .map((folder) => path.resolve(baseDir, folder)),
    limits: {
      maxJobs: env.LONGHAUL_MAX_JOBS,
      maxLogBytes: env.LONGHAUL_MAX_LOGS_MIB * 2 ** 20,
      maxCurations: env.LONGHAUL_MAX_CURATIONS,
    },
    logLevel: env.LONGHAUL_LOG_LEVEL,
  };
}

/** Every variable with its meaning and default, for `longhaul doctor`. */
export function describeEnvironment(): readonly { name: string; meaning: string; fallback: string }[] {
  const defaults = environmentSchema.parse({});
  const fallbackOf = new Map(Object.entries(defaults).map(([name, value]) => [name, String(value)]));
  return Object.entries(environmentSchema.shape).map(([name, schema]) => ({
    name,
    meaning: schema.description ?? '',
    fallback: fallbackOf.get(name) ?? '',
  }));
}
