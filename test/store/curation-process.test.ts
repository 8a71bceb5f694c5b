/** Curation in a process of its own, against a real S3 server: what crosses the border, and what is left when a side dies. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { execaNode } from 'execa';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createCurateActivities } from '../../activities/curate.js';
import type { CuratedDataset, CurateInput } from '../../activities/curate.js';
import { curateDataset, folderSink } from '../../src/curation/index.js';
import { curationRequestSchema } from '../../src/curation/process/messages.js';
import { parseRecipe } from '../../src/domain/recipe/parse.js';
import type { Source } from '../../src/domain/recipe/sources.js';
import { publishModel } from '../../src/store/models.js';
import { startFaultyProxy } from '../support/faulty-proxy.js';
import { folderWith, prose, rootsAt } from '../unit/curation/support.js';
import { freshPrefix, useS3Server } from './support.js';

const MODEL = join(import.meta.dirname, '../../models/base-tiny');
const VOCABULARY_SIZE = 2048;
const REGION = 'us-east-1';
const LOOK_MS = 20;

const s3 = useS3Server();

/** A dataset to curate from a folder of its own, below a prefix of its own. */
async function setUp({ sources = [text('books')], maxBadShare = 0 }: SetUp = {}) {
  const folder = await folderWith({
    ...Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`books/${String(n)}.txt`, prose(400, n)])),
    'bad/a.txt': new Uint8Array([0xff, 0xfe, 0xfd]),
    'bad/b.txt': prose(400, 99),
  });
  const parsed = parseRecipe({});
  if (!parsed.ok) throw new Error('the tiny preset is valid');
  const rootUrl = freshPrefix();
  const store = s3.current.connect();
  const tokenizer = await publishModel(store, { rootUrl, name: 'm', folder: MODEL, origin: 'base' });
  const data = {
    sources: { books: [...sources] },
    heldOutShare: 0.1,
    maxBadShare,
    cut: 'longest-first' as const,
  };
  const plan = {
    purpose: 'training' as const,
    name: 'stage',
    sequenceLengthTokens: 256,
    rows: 80,
    mix: [{ domain: 'books', lengthTokens: null, share: 1 }],
    masked: false,
  };
  const input: CurateInput = { dataset: plan, recipe: { ...parsed.recipe, data }, tokenizer, rootUrl };
  return { folder, store, input };
}

interface SetUp {
  readonly sources?: readonly Source[];
  readonly maxBadShare?: number;
}

function text(folder: string): Source {
  return { kind: 'text', folder, extensions: ['.txt'], join: 'file' };
}

/** The activity as a worker would run it. */
function activity(folder: string, endpoint = s3.current.endpoint, attempt = 1, idleMs?: number) {
  const workflowExecution = { workflowId: 'r', runId: randomUUID() };
  const environment = new MockActivityEnvironment({
    attempt,
    heartbeatTimeoutMs: 3 * LOOK_MS,
    workflowExecution,
  });
  const activities = createCurateActivities({
    storeSettings: { endpoint, region: REGION, maxAttempts: 1, idleMs },
    roots: rootsAt(folder),
    cacheFolder: join(folder, 'cache'),
  });
  const run = (input: CurateInput): Promise<CuratedDataset> =>
    environment.run((given: CurateInput) => activities.curateDataset(given), input);
  return { environment, run };
}

/** How a curation fails. */
async function failureOf(curation: Promise<unknown>): Promise<Error> {
  const failure = await curation.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof Error) return failure;
  throw new Error('curation should have failed');
}

/** A store in front of which curation stands still, everything but the manifest written. */
async function storeThatHoldsManifests() {
  const seen = new EventEmitter();
  const held = once(seen, 'held');
  const proxy = await startFaultyProxy(s3.current.endpoint, ({ method, path }) => {
    if (method !== 'PUT' || !path.endsWith('/manifest.json')) return 'pass';
    seen.emit('held');
    return 'hang';
  });
  onTestFinished(() => proxy.stop());
  return { endpoint: proxy.endpoint, held };
}

interface CurationProcess {
  readonly pid: number;
  readonly parent: number;
}

/** Curation processes of this machine that run. */
function curationProcesses(): CurationProcess[] {
  return readdirSync('/proc')
    .filter(
      (name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`).includes('src/curation/process/main.ts'),
    )
    .map((name) => ({ pid: Number(name), stat: read(`/proc/${name}/stat`).split(') ').at(-1) ?? '' }))
    .filter(({ stat }) => stat !== '' && !stat.startsWith('Z'))
    .map(({ pid, stat }) => ({ pid, parent: Number(stat.split(' ')[1]) }));
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** The curation process that a process has started. */
async function curationProcessOf(parent: number): Promise<number> {
  for (;;) {
    const found = curationProcesses().find((process) => process.parent === parent);
    if (found !== undefined) return found.pid;
    await sleep(LOOK_MS);
  }
}

/** Waits until a curation process is gone. */
async function gone(pid: number): Promise<void> {
  while (curationProcesses().some((process) => process.pid === pid)) await sleep(LOOK_MS);
}

describe('the bytes are those of curation in this process', () => {
  test('made, and adopted when made again', async () => {
    const { folder, input } = await setUp();
    const { recipe, dataset } = input;
    const here = await curateDataset({
      plan: dataset,
      data: recipe.data,
      seed: recipe.seed,
      vocabularySize: VOCABULARY_SIZE,
      tokenizerJson: readFileSync(join(MODEL, 'tokenizer.json')),
      roots: rootsAt(folder),
      sink: folderSink(join(folder, 'out')),
      cacheFolder: join(folder, 'cache-here'),
    });
    const there = await activity(folder).run(input);
    expect(there).toMatchObject({ name: 'stage', rows: 80, tokens: 80 * 256, adopted: false });
    expect(there.ref.digest).toBe(here.ref.digest);
    expect(await activity(folder).run(input)).toEqual({ ...there, adopted: true });
  });
});

describe('a failure keeps its class', () => {
  test('too many bad files: `data`, not retried, each named', async () => {
    const { folder, input } = await setUp({ sources: [text('bad')] });
    const failure = await failureOf(activity(folder).run(input));
    expect(failure).toBeInstanceOf(ApplicationFailure);
    expect(failure).toMatchObject({ type: 'data', nonRetryable: true });
    expect(failure.message).toContain('a.txt: not UTF-8');
  });

  test('a source that is not there: `user-error`, not retried', async () => {
    const { folder, input } = await setUp({ sources: [text('nowhere')] });
    const failure = await failureOf(activity(folder).run(input));
    expect(failure).toMatchObject({ type: 'user-error', nonRetryable: true });
  });

  test('a store that does not answer: the store’s own error, retried', async () => {
    const { folder, input } = await setUp();
    const proxy = await startFaultyProxy(s3.current.endpoint, () => 503);
    onTestFinished(() => proxy.stop());
    const failure = await failureOf(activity(folder, proxy.endpoint).run(input));
    expect(failure).not.toBeInstanceOf(ApplicationFailure);
    expect(failure.name).toBe('StoreError');
    expect(failure.message).toContain('503');
  });

  test('a store that begins an answer and never ends it: its own error too, within its deadline', async () => {
    const { folder, input } = await setUp();
    const proxy = await startFaultyProxy(s3.current.endpoint, ({ method, path }) =>
      method === 'GET' && path.endsWith('/tokenizer.json') ? 'stall-answer' : 'pass',
    );
    onTestFinished(() => proxy.stop());
    const failure = await failureOf(activity(folder, proxy.endpoint, 1, 1_000).run(input));
    expect(failure).toMatchObject({ name: 'StoreError', code: 'unavailable' });
    expect(failure.message).toContain('tokenizer.json');
  });
});

describe('what a process throws is judged as if the worker had thrown it', () => {
  const LATE_TRY = 8;

  test('credentials that the store refuses: of class `store`, once that has lasted', async () => {
    const { folder, input } = await setUp();
    const proxy = await startFaultyProxy(s3.current.endpoint, () => 403);
    onTestFinished(() => proxy.stop());
    expect(await failureOf(activity(folder, proxy.endpoint).run(input))).toMatchObject({
      code: 'access-denied',
    });
    const failure = await failureOf(activity(folder, proxy.endpoint, LATE_TRY).run(input));
    expect(failure).toMatchObject({ type: 'store', nonRetryable: true });
    expect(failure.message.match(/s3:/g)).toHaveLength(1);
  });

  test('a store without an answer: retried without end', async () => {
    const { folder, input } = await setUp();
    const proxy = await startFaultyProxy(s3.current.endpoint, () => 503);
    onTestFinished(() => proxy.stop());
    const failure = await failureOf(activity(folder, proxy.endpoint, 1000).run(input));
    expect(failure).not.toBeInstanceOf(ApplicationFailure);
  });

  test('trouble of the machine: retried at first, then final', async () => {
    const { folder, input } = await setUp();
    await writeFile(join(folder, 'cache'), 'a file where a folder is to be');
    expect(await failureOf(activity(folder).run(input))).not.toBeInstanceOf(ApplicationFailure);
    expect(await failureOf(activity(folder, undefined, LATE_TRY).run(input))).toMatchObject({
      type: 'infrastructure',
      nonRetryable: true,
    });
  });
});

describe('how far it is shows in the heartbeat', () => {
  test('the newest progress, as it comes', async () => {
    const { folder, input } = await setUp();
    const store = await storeThatHoldsManifests();
    const { environment, run } = activity(folder, store.endpoint);
    const allWritten = new Promise<void>((resolve) => {
      environment.on('heartbeat', (details: unknown) => {
        if (JSON.stringify(details) === JSON.stringify({ phase: 'writing', rows: 80, rowsInAll: 80 }))
          resolve();
      });
    });
    const curation = failureOf(run(input));
    await allWritten;
    environment.cancel();
    await curation;
  });
});

describe('nothing goes on curating for nobody', () => {
  test('cancelled: the process is gone when the activity ends, as cancelled', async () => {
    const { folder, input } = await setUp();
    const store = await storeThatHoldsManifests();
    const { environment, run } = activity(folder, store.endpoint);
    const curation = failureOf(run(input));
    await store.held;
    const pid = await curationProcessOf(process.pid);
    environment.cancel();
    expect(await curation).toBeInstanceOf(CancelledFailure);
    expect(curationProcesses().map((one) => one.pid)).not.toContain(pid);
  });

  test('SIGKILL of the worker: its process ends too, and the retry gives the same bytes', async () => {
    const { folder, input } = await setUp();
    const undisturbed = await setUp();
    const store = await storeThatHoldsManifests();
    const { recipe, dataset, tokenizer, rootUrl } = input;
    const worker = execaNode(join(import.meta.dirname, 'curating-worker.ts'), {
      nodeOptions: ['--import', 'tsx'],
      serialization: 'json',
      ipcInput: curationRequestSchema.parse({
        plan: dataset,
        data: recipe.data,
        seed: recipe.seed,
        vocabularySize: VOCABULARY_SIZE,
        tokenizer,
        rootUrl,
        roots: rootsAt(folder),
        cacheFolder: join(folder, 'cache', 'curation'),
        store: { endpoint: store.endpoint, region: REGION },
      }),
      reject: false,
    });
    await store.held;
    const pid = await curationProcessOf(worker.pid ?? 0);
    worker.kill('SIGKILL');
    await worker;
    await gone(pid);
    const retried = await activity(folder).run(input);
    expect(retried.adopted).toBe(false);
    expect(retried.ref.digest).toBe((await activity(undisturbed.folder).run(undisturbed.input)).ref.digest);
  });
});

describe('a process that dies', () => {
  async function killed(attempt: number): Promise<Error> {
    const { folder, input } = await setUp();
    const store = await storeThatHoldsManifests();
    const curation = failureOf(activity(folder, store.endpoint, attempt).run(input));
    await store.held;
    process.kill(await curationProcessOf(process.pid), 'SIGKILL');
    return curation;
  }

  test('SIGKILL: retried, with the signal in the message', async () => {
    const failure = await killed(1);
    expect(failure).not.toBeInstanceOf(ApplicationFailure);
    expect(failure.message).toContain('SIGKILL');
  });

  test('at the fifth try: no longer retried, of class `unknown`', async () => {
    expect(await killed(5)).toMatchObject({ type: 'unknown', nonRetryable: true });
  });

  test('its heap is full: `out-of-memory`, not retried', async () => {
    const { folder, input } = await setUp();
    process.env['NODE_OPTIONS'] = '--max-old-space-size=16';
    onTestFinished(() => {
      delete process.env['NODE_OPTIONS'];
    });
    const failure = await failureOf(activity(folder).run(input));
    expect(failure).toMatchObject({ type: 'out-of-memory', nonRetryable: true });
  });
});
