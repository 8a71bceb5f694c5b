/** Whatever lies in a source's files, curation ends soon, in bounded memory, with what is good and with what is bad named. */
import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { execaNode } from 'execa';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { renderChats } from '../../../src/curation/tokens/chat-template.js';
import { CurationError, curateDataset } from '../../../src/curation/index.js';
import { FileDigests, openSource } from '../../../src/curation/read/index.js';
import { splitLines } from '../../../src/curation/read/lines.js';
import type { FileSource } from '../../../src/domain/recipe/sources.js';
import { folderWith, itemsOf, prose, rootsAt, tokenizer, trainingJob } from './support.js';

const MIB = 2 ** 20;

/** Every kind of source: where its file lies, what it needs to say a text, and how it is asked for. */
const KINDS = {
  text: {
    file: 'texts/x.txt',
    write: (text: string) => text,
    source: { kind: 'text', folder: 'texts', extensions: ['.txt'], join: 'file' },
  },
  'text, joined': {
    file: 'texts/a/x.txt',
    write: (text: string) => text,
    source: { kind: 'text', folder: 'texts', extensions: ['.txt'], join: 'folder' },
  },
  code: {
    file: 'node_modules/lib/x.js',
    write: (text: string) => text,
    source: { kind: 'packages', ecosystem: 'npm', packages: ['lib'], part: 'code', join: 'file' },
  },
  docstrings: {
    file: 'site-packages/pkg/x.py',
    write: (text: string) => `"""${text}"""\n`,
    source: { kind: 'packages', ecosystem: 'python', packages: ['pkg'], part: 'docstrings', join: 'package' },
  },
  jsonl: {
    file: 'x.jsonl',
    write: (text: string) => `${JSON.stringify({ text })}\n`,
    source: { kind: 'jsonl', files: ['good.jsonl', 'x.jsonl'], textField: 'text' },
  },
  chats: {
    file: 'x.jsonl',
    write: (text: string) => `${JSON.stringify({ data: ['Why?', text] })}\n`,
    source: { kind: 'chats', files: ['good.jsonl', 'x.jsonl'] },
  },
} satisfies Record<string, { file: string; write: (text: string) => string; source: FileSource }>;

/** What an unkind hand puts into a file, as text in the form of its kind or as bytes. */
const FILES: Readonly<Record<string, string | Uint8Array>> = {
  nothing: new Uint8Array(),
  'white space': ' \n\r\n\t\u0085\n',
  'a NUL': 'a\0b',
  'not UTF-8': Uint8Array.of(0x22, 0xff, 0xfe, 0x0a, 0xc3, 0x28),
  'UTF-16': Buffer.from('text in another encoding\n'.repeat(20), 'utf16le'),
  'byte order marks': '\ufeff\ufeff\n\ufeff',
  'separators of lines that are no LF': 'a\u2028b\u2029c\u0085d\ve\ff\r'.repeat(50),
  'half of a surrogate pair': 'a\ud800b'.repeat(100),
  'a replacement character': 'a\ufffdb '.repeat(100),
  'one line of 40 MB': Buffer.alloc(40e6, 'a'),
  'one word of 2 MB': 'a'.repeat(2e6),
  'three million characters that are no letters': '='.repeat(3e6),
  'brackets a million deep': '['.repeat(1e6),
  'objects a hundred thousand deep': Buffer.from(`${'{"text":'.repeat(1e5)}1${'}'.repeat(1e5)}`),
  'a number of 300,000 digits': Buffer.from(`{"text": ${'9'.repeat(3e5)}}`),
  'keys that objects have': Buffer.from(
    '{"__proto__": {"text": "x"}, "constructor": 1, "data": {"length": 9}}',
  ),
  'a hundred thousand empty lines': '\n'.repeat(1e5),
  'a hundred thousand documents of nothing': Buffer.from('{}\n'.repeat(1e5)),
  'special tokens': '<|eot_id|><|begin_of_text|><|end_of_text|>'.repeat(20),
};

const GOOD = prose(120, 1).trim();

describe.each(Object.keys(KINDS) as (keyof typeof KINDS)[])('a source of %s', (kind) => {
  const { file, write, source } = KINDS[kind];
  const goodFile = join(dirname(file), `good${file.slice(file.lastIndexOf('.'))}`);

  test.each(Object.keys(FILES))(
    'reads on past %s',
    async (hostile) => {
      const content = FILES[hostile] ?? '';
      const folder = await folderWith({
        [goodFile]: write(GOOD),
        [file]: typeof content === 'string' ? write(content) : content,
      });
      const job = await trainingJob({
        folder,
        sources: { d: [source] },
        mix: [{ domain: 'd', lengthTokens: null, share: 1 }],
        rows: 2,
        sequenceLengthTokens: 64,
        maxBadShare: 1,
        heldOutShare: 1e-9,
      });
      const { manifest } = await curateDataset(job);
      const [counts] = manifest.sources;
      expect(counts?.documents).toBeGreaterThanOrEqual(1);
      for (const bad of counts?.badFiles ?? []) expect(bad.problem).not.toBe('');
    },
    120_000,
  );
});

describe('limits hold in bounded memory', () => {
  /** Reads a source in a process with a heap of 64 MB. */
  async function readInLittleMemory(folder: string, source: FileSource): Promise<unknown> {
    const { stdout } = await execaNode(join(import.meta.dirname, 'read-source.ts'), {
      nodeOptions: ['--max-old-space-size=64', '--import', 'tsx'],
      input: JSON.stringify({ source, roots: rootsAt(folder) }),
    });
    return JSON.parse(stdout);
  }

  test('a gzip of one line of 300 MB is a bad line', async () => {
    const folder = await folderWith();
    const line = Buffer.concat([
      Buffer.from('{"text": "'),
      Buffer.alloc(300 * MIB, 'a'),
      Buffer.from('"}\n'),
    ]);
    const more = Buffer.from('{"text": "after it"}\n');
    await writeFile(
      join(folder, 'x.jsonl.gz'),
      Buffer.concat([gzipSync(line, { level: 1 }), gzipSync(more)]),
    );
    const source: FileSource = { kind: 'jsonl', files: ['x.jsonl.gz'], textField: 'text' };
    expect(await readInLittleMemory(folder, source)).toEqual({
      documents: 1,
      bad: ['x.jsonl.gz:1: a line longer than 33554432 bytes'],
    });
  }, 60_000);

  test('two hundred long lines are read one at a time', async () => {
    const folder = await folderWith();
    const line = `${JSON.stringify({ text: 'word '.repeat(400_000) })}\n`;
    await writeFile(join(folder, 'x.jsonl.gz'), gzipSync(line.repeat(200), { level: 1 }));
    const source: FileSource = { kind: 'jsonl', files: ['x.jsonl.gz'], textField: 'text' };
    expect(await readInLittleMemory(folder, source)).toEqual({ documents: 200, bad: [] });
  }, 60_000);

  test('a text that unpacks to more than a document may have is bad', async () => {
    const folder = await folderWith({
      'texts/x.txt.gz': gzipSync(Buffer.alloc(300 * MIB, 'a'), { level: 1 }),
    });
    expect(await readInLittleMemory(folder, KINDS.text.source)).toEqual({
      documents: 0,
      bad: ['x.txt.gz: larger than 16777216 bytes'],
    });
  }, 60_000);
});

describe('lines end at LF and at nothing else', () => {
  test('however the bytes are cut into chunks', async () => {
    const byte = fc.constantFrom(0x0a, 0x0a, 0x0d, 0x61, 0xe2, 0x80, 0xa8, 0x85, 0x0b, 0x1c);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 9 })), fc.array(byte), async (chunks, ends) => {
        const bytes = Buffer.concat([...chunks, Uint8Array.from(ends)]);
        const cut = [...chunks, Uint8Array.from(ends)];
        const lines: string[] = [];
        for await (const line of splitLines(streamed(cut), 1000))
          lines.push('bytes' in line ? Buffer.from(line.bytes).toString('hex') : 'too long');
        const text = bytes.toString('latin1');
        const expected = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
        const hex = expected.map((line) => Buffer.from(line.replace(/\r$/, ''), 'latin1').toString('hex'));
        expect(lines).toEqual(bytes.length === 0 ? [] : hex);
      }),
    );
  });

  test('a document may have the separators of Unicode within', async () => {
    const lines = Array.from(
      { length: 10 },
      (_, n) => `{"text": "line\u2028sep ${String(n)}\u2029para\u0085"}\n`,
    );
    const folder = await folderWith({ 'x.jsonl': lines.join('') });
    const items = await itemsOf(
      (await openSource({ kind: 'jsonl', files: ['x.jsonl'], textField: 'text' }, rootsAt(folder))).read(),
    );
    expect(items.filter(({ kind }) => kind === 'document')).toHaveLength(10);
    expect(items.filter(({ kind }) => kind === 'bad')).toEqual([]);
  });
});

async function* streamed(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

describe('dialogues are tokenised however long', () => {
  test('a turn of 130,000 words, and 130,000 turns', async () => {
    const loaded = await tokenizer();
    const [long, many] = await renderChats(
      [['word '.repeat(130_000), 'A short answer.'], Array.from({ length: 130_000 }, () => 'a')],
      loaded,
    );
    expect(long?.tokens.length).toBeGreaterThan(130_000);
    expect(many?.mask.reduce((sum, one) => sum + one, 0)).toBe(130_000);
  }, 60_000);
});

describe('damage is weighed by what is lost', () => {
  const job = async (maxBadShare: number) => {
    const lines = Array.from({ length: 2000 }, (_, n) => JSON.stringify({ text: prose(24, n) }));
    const whole = gzipSync(lines.join('\n'));
    const folder = await folderWith({ 'x.jsonl.gz': whole.subarray(0, Math.floor(whole.length * 0.8)) });
    return trainingJob({
      folder,
      sources: { d: [{ kind: 'jsonl', files: ['x.jsonl.gz'], textField: 'text' }] },
      mix: [{ domain: 'd', lengthTokens: null, share: 1 }],
      rows: 2,
      sequenceLengthTokens: 64,
      maxBadShare,
    });
  };

  test('a gzip that is cut off is more than one bad line among many good ones', async () => {
    const failure: unknown = await curateDataset(await job(0.1)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CurationError);
    expect(failure).toHaveProperty('failureClass', 'data');
    expect(failure).toHaveProperty(
      'message',
      expect.stringMatching(/50\.0 %[^]*damaged gzip .* after \d+ lines/),
    );
  });

  test('whoever allows for that much gets what is there', async () => {
    const { manifest } = await curateDataset(await job(0.5));
    expect(manifest.sources[0]?.documents).toBeGreaterThan(1000);
  });
});

describe('what is read is what the dataset is named after', () => {
  test.each(Object.keys(KINDS) as (keyof typeof KINDS)[])(
    'a file of %s that changes after its digest was taken is refused',
    async (kind) => {
      const { file, write, source } = KINDS[kind];
      const good = join(dirname(file), `good${file.slice(file.lastIndexOf('.'))}`);
      const folder = await folderWith({ [good]: write(GOOD), [file]: write(GOOD) });
      const opened = await openSource(source, rootsAt(folder));
      const digests = new FileDigests();
      for (const one of await opened.files()) await digests.take(one);
      await itemsOf(opened.read(digests));
      await appendFile(join(folder, file), write(GOOD));
      const failure: unknown = await itemsOf(opened.read(digests)).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(CurationError);
      expect(failure).toHaveProperty('message', expect.stringContaining('changed while it was read'));
    },
  );
});

describe('only regular files of a disk are read', () => {
  const source: FileSource = { kind: 'jsonl', files: ['x.jsonl'], textField: 'text' };

  test('a pipe, a folder or a device is refused before anything is read', async () => {
    const make: readonly ((path: string) => unknown)[] = [
      (path) => execFileSync('mkfifo', [path]),
      (path) => mkdir(path),
      (path) => symlink('/dev/zero', path),
    ];
    for (const one of make) {
      const folder = await folderWith();
      await one(join(folder, 'x.jsonl'));
      const failure: unknown = await openSource(source, rootsAt(folder)).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(CurationError);
    }
  });
});

test('a text is not cut where that would change its tokens', async () => {
  const json = await readFile(join(import.meta.dirname, '../../../models/base-tiny/tokenizer.json'));
  const added = z.looseObject({ added_tokens: z.array(z.unknown()) });
  const file = added.parse(JSON.parse(json.toString()));
  const { Tokenizer } = await import('tokenizers');
  const { loadTokenizer } = await import('../../../src/curation/tokens/tokenizer.js');
  const binding = Tokenizer.fromString(JSON.stringify({ ...file, added_tokens: [], post_processor: null }));
  const texts = [
    `${'A word. '.repeat(1023)}  x = self.y()\n`,
    '数据是由许多长文档组成的'.repeat(900),
    '数据是由许多长文档组成的。\n\n\u3000\u3000'.repeat(1500),
    'ข้อมูลประกอบด้วยเอกสารยาวจำนวนมาก'.repeat(400),
    'if (x)\t\t\treturn\ty;\t\t\t// it’s a tab\n\n\n'.repeat(500),
    "don't can't won't ".repeat(1000),
  ];
  const ids = await loadTokenizer(json).encode(texts);
  for (const [index, text] of texts.entries()) {
    const whole = await binding.encode(text, null, { addSpecialTokens: false });
    expect([...(ids[index] ?? [])], text.slice(0, 30)).toEqual(whole.getIds());
  }
});
