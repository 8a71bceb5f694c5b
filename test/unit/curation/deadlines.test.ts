/** Sources on a disk that takes what it is asked and never answers: one clear error within the deadline, and nobody left waiting. */
import { ApplicationFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { refusing } from '../../../activities/lib/failures.js';
import { curateDataset } from '../../../src/curation/index.js';
import { checkInProcess } from '../../../src/curation/process/client.js';
import { FileBytes } from '../../../src/curation/read/file-bytes.js';
import { FileDigests, openSource } from '../../../src/curation/read/index.js';
import { DocstringParser } from '../../../src/curation/read/python-docstrings.js';
import type { FileSource } from '../../../src/domain/recipe/sources.js';
import { HungDisk } from '../../support/hung-disk.js';
import { folderWith, itemsOf, prose, rootsAt, trainingJob } from './support.js';

const DEADLINE_MS = 200;
/** No test waits for as long. */
const NEVER_MS = 3_600_000;
const TEXTS: FileSource = { kind: 'text', folder: 'texts', extensions: ['.txt'], join: 'file' };
const FILES = {
  'texts/a.txt': prose(400, 1),
  'x.jsonl': `${JSON.stringify({ text: 'a text' })}\n`,
  'node_modules/lib/x.js': 'export const x = 1;\n',
};
const SOURCES: Readonly<Record<string, FileSource>> = {
  text: TEXTS,
  'text, joined': { ...TEXTS, join: 'folder' },
  jsonl: { kind: 'jsonl', files: ['x.jsonl'], textField: 'text' },
  packages: { kind: 'packages', ecosystem: 'npm', packages: ['lib'], part: 'code', join: 'file' },
};

const hungDisk = (): HungDisk => {
  const disk = new HungDisk();
  onTestFinished(() => {
    disk.answer();
  });
  return disk;
};

async function failureOf(work: Promise<unknown>): Promise<Error> {
  const failure: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof Error) return failure;
  throw new Error('it should have failed');
}

const LATE = {
  name: 'FileDeadlineError',
  message: expect.stringMatching(/^\/.* gave nothing in 0\.2 s$/) as string,
};

describe.each(Object.entries(SOURCES))('a source of %s', (_, source) => {
  const rootsOf = (folder: string) => ({ ...rootsAt(folder), deadlineMs: DEADLINE_MS });

  test('that hangs when it is opened', async () => {
    const folder = await folderWith(FILES);
    hungDisk().hang();
    expect(await failureOf(openSource(source, rootsOf(folder)))).toMatchObject(LATE);
  });

  test('that hangs when it is hashed', async () => {
    const opened = await openSource(source, rootsOf(await folderWith(FILES)));
    const [file] = await opened.files();
    if (file === undefined) throw new Error('it has a file');
    hungDisk().hang();
    expect(await failureOf(new FileDigests(DEADLINE_MS).take(file))).toMatchObject(LATE);
  });

  test('that hangs when it is read', async () => {
    const opened = await openSource(source, rootsOf(await folderWith(FILES)));
    hungDisk().hang();
    expect(await failureOf(itemsOf(opened.read()))).toMatchObject(LATE);
  });
});

test('a file that is open and gives no more ends in its deadline, and its close does not wait for ever', async () => {
  const folder = await folderWith(FILES);
  const bytes = await FileBytes.open(join(folder, 'texts/a.txt'), DEADLINE_MS);
  hungDisk().hang();
  expect(await failureOf(bytes.digest())).toMatchObject(LATE);
  await bytes.close();
});

test('a file that is opened and then tells nothing of itself is closed without waiting for ever', async () => {
  const folder = await folderWith(FILES);
  const disk = hungDisk();
  const opening = FileBytes.open(join(folder, 'texts/a.txt'), DEADLINE_MS);
  // Behind the opener, which is asked already, and before what it asks next.
  disk.hang();
  expect(await failureOf(opening)).toMatchObject(LATE);
});

describe('curation', () => {
  const job = async (folder: string, deadlineMs: number) => {
    const made = await trainingJob({
      folder,
      sources: { d: [TEXTS] },
      mix: [{ domain: 'd', lengthTokens: null, share: 1 }],
      rows: 2,
      sequenceLengthTokens: 64,
    });
    return { ...made, roots: { ...made.roots, deadlineMs } };
  };

  test('of such a source ends with the file’s name, and is no bad file', async () => {
    const folder = await folderWith(FILES);
    const due = await job(folder, DEADLINE_MS);
    hungDisk().hang();
    expect(await failureOf(curateDataset(due))).toMatchObject(LATE);
  });

  test('is tried again at first; in the end an operator is told to see to the machine', async () => {
    const folder = await folderWith(FILES);
    const failureAt = async (attempt: number) => {
      const due = await job(folder, DEADLINE_MS);
      const disk = new HungDisk();
      disk.hang();
      const environment = new MockActivityEnvironment({ attempt });
      const work = () => refusing(() => curateDataset(due));
      return failureOf(environment.run(work)).finally(() => {
        disk.answer();
      });
    };
    expect(await failureAt(1)).not.toBeInstanceOf(ApplicationFailure);
    const last = await failureAt(8);
    expect(last).toMatchObject({ type: 'infrastructure', nonRetryable: true });
    expect(last.message).toContain('gave nothing in 0.2 s');
  });
});

describe('a look at sources in a process of its own', () => {
  const look = async (fileDeadlineMs: number, deadlineMs: number) => {
    const folder = await folderWith(FILES);
    vi.stubEnv('NODE_OPTIONS', hungDisk().nodeOptions());
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const roots = { ...rootsAt(folder), deadlineMs: fileDeadlineMs };
    const request = { check: 'sources' as const, sources: { d: [TEXTS] }, roots };
    return checkInProcess(request, { signal: new AbortController().signal, deadlineMs });
  };

  test('ends with the file that gives nothing, though its own threads never end', async () => {
    expect(await failureOf(look(DEADLINE_MS, NEVER_MS))).toMatchObject({ ...LATE, syscall: 'read' });
  });

  test('ends in its own deadline, with a problem in the recipe’s terms', async () => {
    const [problem] = await look(NEVER_MS, 5_000);
    expect(problem).toMatchObject({ path: 'data.sources', message: 'could not be looked through in 5 s' });
  });
});

test('a Python that never says a word can’t be run', async () => {
  const folder = await folderWith({ python: '#!/bin/sh\nexec sleep 600\n' });
  await chmod(join(folder, 'python'), 0o755);
  const failure = await failureOf(DocstringParser.open(join(folder, 'python'), DEADLINE_MS));
  expect(failure).toMatchObject({ failureClass: 'user-error' });
  expect(failure.message).toContain("can't be run");
});
