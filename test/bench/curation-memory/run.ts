/**
 * Peak memory of curation against the size of its source. Each size runs in a process of its own:
 *
 *     npx tsx test/bench/curation-memory/run.ts [megabytes …]
 *
 * The source is one JSON Lines file of documents of a few kilobytes (the books of data/books, cut), repeated with a number in
 * each so that no two are equal. Prints megabytes of text, tokens, seconds, tokens per second, peak resident megabytes.
 */
import { execaNode } from 'execa';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { curateDataset, folderSink } from '../../../src/curation/index.js';

const PROJECT = join(import.meta.dirname, '../../..');
const DOCUMENT_CHARACTERS = 4_000;

async function writeCorpus(path: string, megabytes: number): Promise<void> {
  const folder = join(PROJECT, 'data/books');
  const names = (await readdir(folder)).sort();
  const out = createWriteStream(path);
  let [written, count] = [0, 0];
  while (written < megabytes * 1e6) {
    const text = await readFile(join(folder, names[count % names.length] ?? ''), 'utf8');
    for (let at = 0; at < text.length && written < megabytes * 1e6; at += DOCUMENT_CHARACTERS) {
      const line = `${JSON.stringify({ text: `${String(count++)}\n${text.slice(at, at + DOCUMENT_CHARACTERS)}` })}\n`;
      written += line.length;
      if (!out.write(line)) await once(out, 'drain');
    }
  }
  out.end();
  await once(out, 'finish');
}

async function measure(megabytes: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'longhaul-bench-'));
  try {
    await writeCorpus(join(folder, 'corpus.jsonl'), megabytes);
    const before = process.memoryUsage.rss();
    const start = performance.now();
    const { manifest } = await curateDataset({
      plan: {
        purpose: 'training',
        name: 'bench',
        sequenceLengthTokens: 1024,
        rows: Math.floor(megabytes * 200),
        mix: [{ domain: 'text', lengthTokens: null, share: 1 }],
        masked: false,
      },
      data: {
        sources: { text: [{ kind: 'jsonl', files: ['corpus.jsonl'], textField: 'text' }] },
        heldOutShare: 0.05,
        maxBadShare: 0,
        cut: 'longest-first',
      },
      seed: 1,
      tokenizerJson: await readFile(join(PROJECT, 'models/base-tiny/tokenizer.json')),
      vocabularySize: 2048,
      roots: { project: folder, npm: folder, python: folder, interpreter: 'python3', allowed: [folder] },
      sink: folderSink(join(folder, 'out')),
      cacheFolder: join(folder, 'cache'),
      shardBytes: 2 ** 22,
    });
    const seconds = (performance.now() - start) / 1000;
    const tokens = manifest.sources.reduce((sum, source) => sum + source.tokens, 0);
    const figures = {
      megabytes,
      tokens,
      seconds: Number(seconds.toFixed(1)),
      tokensPerSecond: Math.round(tokens / seconds),
      residentBeforeMb: Math.round(before / 1e6),
      peakResidentMb: Math.round((process.resourceUsage().maxRSS * 1024) / 1e6),
    };
    console.log(JSON.stringify(figures));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const only = process.env['BENCH_MEGABYTES'];
if (only === undefined) {
  const sizes = process.argv.slice(2);
  for (const size of sizes.length > 0 ? sizes : ['2', '8', '32'])
    await execaNode(import.meta.filename, {
      nodeOptions: ['--import', 'tsx'],
      env: { BENCH_MEGABYTES: size },
      stdio: 'inherit',
    });
} else await measure(Number(only));
