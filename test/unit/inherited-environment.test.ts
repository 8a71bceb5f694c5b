/** What the processes that a worker starts, jobs and curations, get of its environment. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { LocalBackend } from '../../src/backends/local/local.js';
import { loadConfig } from '../../src/config.js';
import { checkInProcess } from '../../src/curation/process/client.js';
import { dependencies } from '../../src/worker.js';

const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].flatMap((name) => [name, name.toLowerCase()]);
const CERTIFICATES = [
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'AWS_CA_BUNDLE',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
];
const CREDENTIALS = [
  'ACCESS_KEY_ID',
  'SECRET_ACCESS_KEY',
  'SESSION_TOKEN',
  'PROFILE',
  'CONFIG_FILE',
  'SHARED_CREDENTIALS_FILE',
  'WEB_IDENTITY_TOKEN_FILE',
  'ROLE_ARN',
  'ROLE_SESSION_NAME',
  'CONTAINER_CREDENTIALS_FULL_URI',
  'CONTAINER_CREDENTIALS_RELATIVE_URI',
  'CONTAINER_AUTHORIZATION_TOKEN_FILE',
  'EC2_METADATA_DISABLED',
].map((name) => `AWS_${name}`);
const COMPUTING = [
  ...['CUDA_VISIBLE_DEVICES', 'CUBLAS_WORKSPACE_CONFIG', 'NVIDIA_VISIBLE_DEVICES', 'NCCL_DEBUG'],
  ...['OMP_NUM_THREADS', 'GOMP_CPU_AFFINITY', 'KMP_AFFINITY', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'],
  ...['TORCH_HOME', 'TORCH_NCCL_BLOCKING_WAIT', 'PYTORCH_CUDA_ALLOC_CONF', 'TORCHINDUCTOR_CACHE_DIR'],
  ...['TRITON_CACHE_DIR', 'LD_LIBRARY_PATH'],
];
const OTHERS = [
  ...['LONGHAUL_STORE_PATIENCE_SECONDS', 'LONGHAUL_STORE_REFUSAL_SECONDS', 'PYTHONHASHSEED'],
  ...['LANG', 'LC_ALL', 'TZ', 'USER'],
];
const PASSED_ON = [...PROXIES, ...CERTIFICATES, ...CREDENTIALS, ...COMPUTING, ...OTHERS];
const KEPT = [
  ...['TEMPORAL_API_KEY', 'TEMPORAL_TLS_KEY', 'TEMPORAL_ADDRESS', 'temporal_api_key'],
  ...['GITHUB_TOKEN', 'HF_TOKEN', 'WANDB_API_KEY', 'DATABASE_URL', 'KUBECONFIG', 'SSH_AUTH_SOCK', 'A_SECRET'],
];
const LOOPBACK = 'proxied.example,127.0.0.1,localhost,::1';

/** Some of them mean something to a process that starts. */
const HARMLESS = new Map([
  ['PYTHONHASHSEED', '1'],
  ['TZ', 'Etc/UTC'],
  ['LANG', 'C'],
  ['LC_ALL', 'C'],
]);

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-inherited-'));
  for (const name of PASSED_ON) vi.stubEnv(name, HARMLESS.get(name) ?? `/value/of/${name}`);
  for (const name of KEPT) vi.stubEnv(name, 'a secret');
  vi.stubEnv('NO_PROXY', 'proxied.example').stubEnv('no_proxy', '');
  vi.stubEnv('TMPDIR', folder);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const environmentSchema = z.record(z.string(), z.string());
type Environment = z.infer<typeof environmentSchema>;

/** Runs the command that a job is started with by a worker's own settings. */
async function environmentOfJob(): Promise<Environment> {
  const { jobs } = dependencies(loadConfig(process.env, folder));
  const backend = new LocalBackend(join(folder, 'jobs'));
  const command = [process.execPath, '-p', 'JSON.stringify(process.env)'] as const;
  await backend.submit({ name: 'a', command, environment: jobs.environment, graceSeconds: 1 });
  while ((await backend.observe('a')).state !== 'ended') await sleep(20);
  return environmentSchema.parse(JSON.parse((await backend.logs('a', 1)).join('')));
}

/** A curation process is asked by a module that it loads first. */
async function environmentOfCuration(): Promise<Environment> {
  const [told, spy] = [join(folder, 'told.json'), join(folder, 'spy.mjs')];
  const code = `import fs from 'node:fs'; fs.writeFileSync(${JSON.stringify(told)}, JSON.stringify(process.env));`;
  await writeFile(spy, code);
  vi.stubEnv('NODE_OPTIONS', `--import ${pathToFileURL(spy).href}`);
  const roots = { project: folder, npm: folder, python: folder, interpreter: 'python3', allowed: [folder] };
  const request = { check: 'sources', sources: {}, roots } as const;
  expect(await checkInProcess(request, { signal: new AbortController().signal })).toEqual([]);
  return environmentSchema.parse(JSON.parse(await readFile(told, 'utf8')));
}

describe.each([
  ['a job', environmentOfJob],
  ['a curation process', environmentOfCuration],
])('of its worker’s environment %s', (_, environmentOf) => {
  it('inherits what it needs to reach the store and to compute, and nobody else’s keys', async () => {
    const environment = await environmentOf();
    const expected = PASSED_ON.map((name) => [name, process.env[name]]);
    expect(Object.fromEntries(PASSED_ON.map((name) => [name, environment[name]]))).toEqual(
      Object.fromEntries(expected),
    );
    for (const name of ['HOME', 'PATH', 'TMPDIR']) expect(environment[name]).toBe(process.env[name]);
    expect(Object.keys(environment).filter((name) => KEPT.includes(name))).toEqual([]);
    expect(Object.values(environment)).not.toContain('a secret');
  });

  it('reaches this machine’s own servers without a proxy', async () => {
    const { NO_PROXY, no_proxy } = await environmentOf();
    expect({ NO_PROXY, no_proxy }).toEqual({ NO_PROXY: LOOPBACK, no_proxy: LOOPBACK });
  });
});
