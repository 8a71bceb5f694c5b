import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CurationError, curateDataset, folderSink } from '../../../src/curation/index.js';
import type { CuratedDataset, CurationJob, DatasetSink } from '../../../src/curation/index.js';
import type { MixPart } from '../../../src/domain/recipe/schema.js';
import type { Source } from '../../../src/domain/recipe/sources.js';
import { folderWith, prose, readShard, tokenizer, trainingJob } from './support.js';
import type { ReadRow } from './support.js';

const text = (folder: string): Source => ({ kind: 'text', folder, extensions: ['.txt'], join: 'file' });
const part = (domain: string, lengthTokens: number | null, share: number): MixPart => ({
  domain,
  lengthTokens,
  share,
});

/** A corpus with long and short documents and dialogues. */
function corpus(): Promise<string> {
  const chats = Array.from({ length: 30 }, (_, index) => ({
    data: [`q ${String(index)}`, prose(16 + index, index).trim()],
  }));
  return folderWith({
    ...Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [`long/${String(index)}.txt`, prose(900, index)]),
    ),
    ...Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [`short/${String(index)}.txt`, prose(24, 100 + index)]),
    ),
    'chats.jsonl': chats.map((chat) => JSON.stringify(chat)).join('\n'),
  });
}

const sources = {
  long: [text('long')],
  short: [text('short')],
  chat: [{ kind: 'chats', files: ['chats.jsonl'] }],
} satisfies Record<string, Source[]>;
const mix = [part('long', 256, 0.25), part('long', 64, 0.25), part('short', null, 0.5)];

async function rowsOf(job: CurationJob, { ref, manifest }: CuratedDataset): Promise<ReadRow[]> {
  const dataset = ref.manifestUrl.split('/').at(-2) ?? '';
  const rows: ReadRow[] = [];
  for (const { file } of manifest.shards)
    rows.push(...readShard((await job.sink.read(dataset, file)) ?? new Uint8Array()));
  return rows;
}

async function failureOf(job: CurationJob): Promise<CurationError> {
  const failure: unknown = await curateDataset(job).catch((error: unknown) => error);
  if (failure instanceof CurationError) return failure;
  throw new Error('curation should have failed');
}

describe('rows are what the plan says', () => {
  test('equal lengths, exact shares, bounds that cover each row, lengths within bounds', async () => {
    const folder = await corpus();
    const job = await trainingJob({ folder, sources, mix, rows: 40, sequenceLengthTokens: 256 });
    const curated = await curateDataset(job);
    const rows = await rowsOf(job, curated);
    expect(curated.manifest.domains.map(({ name, rows: count }) => [name, count])).toEqual([
      ['long@256', 10],
      ['long@64', 10],
      ['short', 20],
    ]);
    for (const { domain, tokens, bounds } of rows) {
      expect(tokens).toHaveLength(256);
      expect(bounds.map(([start]) => start)).toEqual([0, ...bounds.slice(0, -1).map(([, end]) => end)]);
      expect(bounds.at(-1)?.[1]).toBe(256);
      if (domain === 'long@256') expect(bounds).toEqual([[0, 256]]);
      if (domain === 'long@64') expect(bounds.map(([start, end]) => end - start)).toEqual([64, 64, 64, 64]);
    }
    const [shard] = curated.manifest.shards;
    expect(shard?.rowSumSquares).toEqual(
      rows.map(({ bounds }) => bounds.reduce((sum, [start, end]) => sum + (end - start) ** 2, 0)),
    );
    expect(shard?.rowDomains.map((index) => curated.manifest.domains[index]?.name)).toEqual(
      rows.map(({ domain }) => domain),
    );
  });

  test('no stretch of text is in two rows while there is text left, nor at two lengths', async () => {
    const folder = await corpus();
    const job = await trainingJob({
      folder,
      sources,
      mix: mix.slice(0, 2),
      rows: 16,
      sequenceLengthTokens: 256,
    });
    const curated = await curateDataset(job);
    expect(curated.manifest.domains.every(({ passes }) => passes <= 1)).toBe(true);
    const pieces = (await rowsOf(job, curated)).flatMap(({ tokens, bounds }) =>
      bounds.map(([start]) => tokens.slice(start, start + 48).join(' ')),
    );
    expect(new Set(pieces).size).toBe(pieces.length);
  });

  test('short documents are packed end to end: what a row cuts, the next row of the domain goes on with', async () => {
    const folder = await corpus();
    const job = await trainingJob({
      folder,
      sources,
      mix: [part('short', null, 1)],
      rows: 12,
      sequenceLengthTokens: 128,
    });
    const rows = await rowsOf(job, await curateDataset(job));
    const { beginOfText, endOfText } = (await tokenizer()).special;
    const stream = rows.flatMap(({ tokens }) => tokens);
    const begins = stream.flatMap((token, at) => (token === beginOfText ? [at] : []));
    for (const at of begins.slice(1)) expect(stream[at - 1]).toBe(endOfText);
    const starts = rows.flatMap(({ bounds }, row) => bounds.map(([start]) => row * 128 + start));
    expect(begins.every((at) => starts.includes(at))).toBe(true);
  });

  test('text that runs out is repeated, and the manifest says how often', async () => {
    const folder = await folderWith({ 'long/a.txt': prose(60, 1) });
    const job = await trainingJob({
      folder,
      sources: { long: [text('long')] },
      mix: [part('long', 64, 1)],
      rows: 50,
      sequenceLengthTokens: 64,
      heldOutShare: 0.0001,
    });
    const { manifest } = await curateDataset(job);
    expect(manifest.domains[0]?.passes).toBeGreaterThan(1);
  });

  test('lookup tables take their share of a domain’s rows', async () => {
    const folder = await corpus();
    const mixed = { long: [text('long'), { kind: 'lookups', share: 0.5 } as const] };
    const job = await trainingJob({
      folder,
      sources: mixed,
      mix: [part('long', 256, 1)],
      rows: 20,
      sequenceLengthTokens: 256,
    });
    const rows = await rowsOf(job, await curateDataset(job));
    const [brace] = await (await tokenizer()).encode(['{\n"']);
    const tables = rows.filter(({ tokens }) => tokens[1] === brace?.[0]);
    expect(tables).toHaveLength(10);
    expect(tables.every(({ bounds }) => bounds.at(-1)?.[1] === 256)).toBe(true);
  });
});

describe('a dataset’s folder can be given to a loader that reads path@share and path#repeats', () => {
  /** As ProLong's training/dataset.py takes its paths apart. */
  const pathOf = (given: string): string => given.split('@')[0]?.split('#')[0] ?? '';

  test('whatever it is called, the path is the folder', async () => {
    const job = await trainingJob({
      folder: await corpus(),
      sources,
      mix: [part('short', null, 1)],
      rows: 2,
      sequenceLengthTokens: 32,
    });
    for (const name of ['stage-1', 'sft', 'a', '0-1-2']) {
      const { ref } = await curateDataset({ ...job, plan: { ...job.plan, name } });
      const folder = ref.manifestUrl.slice(0, ref.manifestUrl.lastIndexOf('/'));
      expect(pathOf(`${folder}@0.3`)).toBe(folder);
      expect(pathOf(`${folder}#2`)).toBe(folder);
      expect(folder).toMatch(new RegExp(`/${name}\\.[0-9a-f]{12}$`));
    }
  });
});

describe('SFT rows', () => {
  test('start with a dialogue, carry a mask, and lose what the row cuts', async () => {
    const folder = await corpus();
    const job = await trainingJob({
      folder,
      sources,
      mix: [part('chat', null, 1)],
      rows: 10,
      sequenceLengthTokens: 128,
      masked: true,
    });
    const curated = await curateDataset(job);
    const { beginOfText } = (await tokenizer()).special;
    expect(curated.manifest.hasMask).toBe(true);
    for (const { tokens, mask, bounds } of await rowsOf(job, curated)) {
      expect(mask).toHaveLength(128);
      expect(mask?.includes(1)).toBe(true);
      expect(bounds.every(([start]) => tokens[start] === beginOfText && mask?.[start] === 0)).toBe(true);
    }
  });

  describe('of dialogues whose first answer begins beyond a row there are none', () => {
    const chat: Record<string, Source[]> = { chat: [{ kind: 'chats', files: ['chats.jsonl'] }] };
    const dialogues = (questionWords: readonly number[]) =>
      folderWith({
        'chats.jsonl': questionWords
          .map((words, index) => JSON.stringify({ data: [prose(words, index), 'Yes.'] }))
          .join('\n'),
      });
    const jobOver = async (questionWords: readonly number[]) =>
      trainingJob({
        folder: await dialogues(questionWords),
        sources: chat,
        mix: [part('chat', null, 1)],
        rows: 40,
        sequenceLengthTokens: 128,
        masked: true,
        heldOutShare: 0.0001,
      });

    test('every row has a token to train on, and the manifest counts what was left out', async () => {
      const job = await jobOver(Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? 8 : 400)));
      const curated = await curateDataset(job);
      const rows = await rowsOf(job, curated);
      expect(rows.filter(({ mask }) => mask?.includes(1) !== true)).toEqual([]);
      expect(curated.manifest.domains).toMatchObject([{ name: 'chat', rows: 40, untrainedDocuments: 20 }]);
    });

    test('where nothing is left, curation fails and says why', async () => {
      const failure = await failureOf(await jobOver(Array.from({ length: 12 }, () => 400)));
      expect(failure.failureClass).toBe('data');
      expect(failure.message).toContain('the first answer of every dialogue begins beyond 128 tokens');
    });
  });

  test('texts are no dialogues', async () => {
    const job = await trainingJob({
      folder: await corpus(),
      sources,
      mix: [part('short', null, 1)],
      rows: 10,
      sequenceLengthTokens: 128,
      masked: true,
    });
    expect((await failureOf(job)).failureClass).toBe('user-error');
  });
});

describe('held-out documents are set aside before anything else', () => {
  test('no training row has a line of one; held-out rows have nothing else and are never repeated', async () => {
    const folder = await corpus();
    const job = await trainingJob({
      folder,
      sources,
      mix: [part('long', 64, 1)],
      rows: 300,
      sequenceLengthTokens: 64,
      heldOutShare: 0.3,
    });
    const training = await curateDataset(job);
    const heldOutJob: CurationJob = {
      ...job,
      plan: { purpose: 'held-out', name: 'loss', sequenceLengthTokens: 64, rows: 1000, domains: ['long'] },
    };
    const heldOut = await curateDataset(heldOutJob);
    const counted = training.manifest.sources[0]?.heldOutDocuments ?? 0;
    expect(counted).toBeGreaterThan(0);
    expect(heldOut.manifest.rows).toBeLessThan(1000);
    expect(heldOut.manifest.domains[0]?.passes).toBe(1);
    const seen = new Set((await rowsOf(job, training)).map(({ tokens }) => tokens.join(' ')));
    const rows = await rowsOf(heldOutJob, heldOut);
    expect(rows.some(({ tokens }) => seen.has(tokens.join(' ')))).toBe(false);
    expect(new Set(rows.map(({ tokens }) => tokens.join(' '))).size).toBe(rows.length);
  });

  test('a length that no held-out document has is refused', async () => {
    const job = await trainingJob({
      folder: await corpus(),
      sources,
      mix,
      rows: 4,
      sequenceLengthTokens: 256,
    });
    const plan = {
      purpose: 'held-out',
      name: 'loss',
      sequenceLengthTokens: 65_536,
      rows: 4,
      domains: ['long'],
    } as const;
    const failure = await failureOf({ ...job, plan });
    expect(failure.failureClass).toBe('data');
    expect(failure.message).toContain('long: there is no held-out document of 65536 tokens');
  });
});

describe('the same inputs make the same dataset', () => {
  const options = { sources, mix, rows: 40, sequenceLengthTokens: 256, shardBytes: 16_384 };

  test('byte for byte, wherever the corpus lies, with or without cached tokens', async () => {
    const [one, two] = [await corpus(), await corpus()];
    const first = await curateDataset(await trainingJob({ folder: one, ...options }));
    const second = await curateDataset(await trainingJob({ folder: two, ...options }));
    const cached = await curateDataset(
      await trainingJob({ folder: one, ...options, sink: folderSink(join(one, 'again')) }),
    );
    expect(first.manifest.shards.length).toBeGreaterThan(2);
    expect([second.ref.digest, cached.ref.digest]).toEqual([first.ref.digest, first.ref.digest]);
  });

  test('a finished dataset is adopted without reading further', async () => {
    const folder = await corpus();
    const first = await curateDataset(await trainingJob({ folder, ...options }));
    const sink = folderSink(join(folder, 'out'));
    const refusing: DatasetSink = {
      ...sink,
      create: () => Promise.reject(new Error('nothing should be written')),
    };
    const second = await curateDataset(await trainingJob({ folder, ...options, sink: refusing }));
    expect(second).toEqual({ ...first, adopted: true });
  });

  test('the manifest comes last: what an interrupted curation stored is completed, not adopted', async () => {
    const folder = await corpus();
    const sink = folderSink(join(folder, 'out'));
    const failing: DatasetSink = {
      ...sink,
      create: (dataset, file, bytes) =>
        file === 'shard.00001.mds' ? Promise.reject(new Error('gone')) : sink.create(dataset, file, bytes),
    };
    await expect(curateDataset(await trainingJob({ folder, ...options, sink: failing }))).rejects.toThrow(
      'gone',
    );
    const whole = await curateDataset(await trainingJob({ folder, ...options }));
    expect(whole.adopted).toBe(false);
    const other = await curateDataset(await trainingJob({ folder: await corpus(), ...options }));
    expect(whole.ref.digest).toBe(other.ref.digest);
  });

  test('another seed, another file, another mix: another dataset', async () => {
    const folder = await corpus();
    const digests = new Set<string>();
    for (const change of [{}, { seed: 2 }, { mix: mix.slice(1) }, { heldOutShare: 0.2 }])
      digests.add(
        (await curateDataset(await trainingJob({ folder, ...options, ...change }))).ref.manifestUrl,
      );
    const grown = await trainingJob({
      folder: await folderWith({ 'long/0.txt': prose(900, 5), 'short/0.txt': prose(900, 6) }),
      ...options,
      sources: { long: sources.long, short: sources.short },
    });
    digests.add(
      (await curateDataset({ ...grown, data: { ...grown.data, heldOutShare: 0.001 } })).ref.manifestUrl,
    );
    expect(digests.size).toBe(5);
  });

  test('nothing is left in the cache but tokens, whatever happens', async () => {
    const folder = await corpus();
    await curateDataset(await trainingJob({ folder, ...options }));
    await failureOf(
      await trainingJob({ folder, ...options, mix: [part('long', 8192, 1)], sequenceLengthTokens: 8192 }),
    );
    expect((await readdir(join(folder, 'cache'))).filter((name) => /scratch|\./.test(name))).toEqual([]);
  });
});

describe('bad files', () => {
  const options = { mix: [part('short', null, 1)], rows: 4, sequenceLengthTokens: 64 };

  test('are named and counted in the manifest while they are few', async () => {
    const folder = await corpus();
    await writeFile(join(folder, 'short/broken.txt'), Uint8Array.of(0xff));
    const { manifest } = await curateDataset(
      await trainingJob({ folder, sources, ...options, maxBadShare: 0.05 }),
    );
    expect(manifest.sources[0]).toMatchObject({
      files: 41,
      documents: 40,
      badFiles: [{ path: 'broken.txt', problem: 'not UTF-8' }],
    });
  });

  test('fail curation above the allowed share, each named, and nothing is stored', async () => {
    const files = {
      'short/a.txt': prose(24, 1),
      'short/empty.txt': '',
      'short/broken.txt': Uint8Array.of(0xff),
    };
    const folder = await folderWith(files);
    const job = await trainingJob({ folder, sources, ...options, maxBadShare: 0.5 });
    const failure = await failureOf(job);
    expect(failure.failureClass).toBe('data');
    expect(failure.message).toContain('2 bad, 66.7 % of 3, above the allowed 50.0 % (data.maxBadShare)');
    expect(failure.message).toContain('- broken.txt: not UTF-8\n- empty.txt: empty');
    await expect(readFile(join(folder, 'out'))).rejects.toThrow('ENOENT');
  });
});

test('curation stops when it is told to', async () => {
  const job = await trainingJob({
    folder: await corpus(),
    sources,
    mix,
    rows: 40,
    sequenceLengthTokens: 256,
  });
  await expect(curateDataset({ ...job, signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow(
    'stop',
  );
});
