import { gzipSync } from 'node:zlib';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CurationError } from '../../../src/curation/errors.js';
import { openSource } from '../../../src/curation/read/index.js';
import { DocstringParser } from '../../../src/curation/read/python-docstrings.js';
import type { SourceItem } from '../../../src/curation/read/index.js';
import type { FileSource } from '../../../src/domain/recipe/sources.js';
import { folderWith, itemsOf, rootsAt } from './support.js';

async function read(source: FileSource, folder: string): Promise<SourceItem[]> {
  return itemsOf((await openSource(source, rootsAt(folder))).read());
}

function documents(items: readonly SourceItem[]): Record<string, string> {
  return Object.fromEntries(
    items.flatMap((item) => (item.kind === 'document' ? [[item.document.id, item.document.text]] : [])),
  );
}

function badFiles(items: readonly SourceItem[]): Record<string, string> {
  return Object.fromEntries(
    items.flatMap((item) => (item.kind === 'bad' ? [[item.bad.path, item.bad.problem]] : [])),
  );
}

const books: FileSource = { kind: 'text', folder: 'books', extensions: ['.txt'], join: 'file' };

describe('a bad file is named with its problem, and the others are read', () => {
  test('empty, not UTF-8, binary, damaged gzip', async () => {
    const folder = await folderWith({
      'books/a.txt': 'one\r\ntwo\n',
      'books/b.txt': ' \n\n',
      'books/c.txt': Uint8Array.of(0x66, 0xff, 0xfe),
      'books/d.txt': 'a\0b',
      'books/e.txt.gz': gzipSync('zipped\n'),
      'books/f.txt.gz': gzipSync('cut short').subarray(0, 12),
      'books/g.png': 'not asked for',
    });
    const items = await read(books, folder);
    expect(documents(items)).toEqual({ 'a.txt': 'one\ntwo\n', 'e.txt.gz': 'zipped\n' });
    expect(badFiles(items)).toEqual({
      'b.txt': 'empty',
      'c.txt': 'not UTF-8',
      'd.txt': 'binary: it has a NUL character',
      'f.txt.gz': expect.stringContaining('damaged gzip') as string,
    });
    expect(items.filter(({ kind }) => kind !== 'document')).toHaveLength(6);
  });

  test('a line of JSON Lines: not JSON, no text, empty', async () => {
    const lines = ['{"text": "fine"}', '{"text": 1}', '{broken', '', '{"text": " "}', '{"text": "fine too"}'];
    const folder = await folderWith({ 'x.jsonl': lines.join('\n') });
    const items = await read({ kind: 'jsonl', files: ['x.jsonl'], textField: 'text' }, folder);
    expect(documents(items)).toEqual({ 'x.jsonl:1': 'fine', 'x.jsonl:6': 'fine too' });
    expect(badFiles(items)).toEqual({
      'x.jsonl:2': 'no text in its field "text"',
      'x.jsonl:3': 'not JSON',
      'x.jsonl:5': 'empty',
    });
  });

  test('a dialogue without an answer, or with an empty turn', async () => {
    const chats = [{ data: ['q', 'a', 'left over'] }, { data: ['q'] }, { data: ['q', ' '] }, { text: 'q' }];
    const folder = await folderWith({ 'c.jsonl': chats.map((chat) => JSON.stringify(chat)).join('\n') });
    const items = await read({ kind: 'chats', files: ['c.jsonl'] }, folder);
    expect(items.flatMap((item) => (item.kind === 'document' ? [item.document.turns] : []))).toEqual([
      ['q', 'a'],
    ]);
    expect(Object.keys(badFiles(items))).toEqual(['c.jsonl:2', 'c.jsonl:3', 'c.jsonl:4']);
  });
});

describe('the order of documents never changes', () => {
  test('text files come by path, code unit by code unit', async () => {
    const folder = await folderWith({
      'books/b.txt': 'b',
      'books/B.txt': 'B',
      'books/a/z.txt': 'z',
      'books/ä.txt': 'ä',
    });
    expect(Object.keys(documents(await read(books, folder)))).toEqual(['B.txt', 'a/z.txt', 'b.txt', 'ä.txt']);
  });

  test('only the files that are asked for', async () => {
    const folder = await folderWith({ 'books/one.txt': '1', 'books/two.txt': '2', 'books/three.txt': '3' });
    expect(Object.keys(documents(await read({ ...books, only: ['t'] }, folder)))).toEqual([
      'three.txt',
      'two.txt',
    ]);
  });

  test('subfolders can be joined into a document each', async () => {
    const folder = await folderWith({
      'books/a/1.txt': 'x\n',
      'books/a/2.txt': 'y\n',
      'books/b/1.txt': 'z\n',
    });
    const items = await read({ ...books, join: 'folder' }, folder);
    expect(documents(items)).toEqual({
      a: '# File: a/1.txt\nx\n\n# File: a/2.txt\ny\n',
      b: '# File: b/1.txt\nz\n',
    });
  });
});

describe('a package is read as a repository', () => {
  const source: FileSource = {
    kind: 'packages',
    ecosystem: 'npm',
    packages: ['lib'],
    part: 'code',
    join: 'package',
  };

  test('all source files joined, each under its path; none that a tool made', async () => {
    const folder = await folderWith({
      'node_modules/lib/index.js': 'main();\n',
      'node_modules/lib/src/util.ts': 'util();\n',
      'node_modules/lib/src/util.d.ts': 'declare function util(): void;\n',
      'node_modules/lib/dist/all.min.js': 'x',
      'node_modules/lib/dist/bundle.js': 'y'.repeat(5000),
      'node_modules/lib/empty.js': '',
      'node_modules/lib/node_modules/other/index.js': 'other();\n',
      'node_modules/lib/README.md': '# Lib\n',
      'node_modules/lib/CHANGELOG.md': '## 1.0\n',
      'node_modules/lib/LICENSE.md': 'MIT\n',
      'node_modules/lib/docs/guide.md': 'Do this.\n',
    });
    const items = await read(source, folder);
    expect(documents(items)).toEqual({
      lib: '// File: lib/index.js\nmain();\n\n// File: lib/src/util.ts\nutil();\n',
    });
    expect(badFiles(items)).toEqual({});
    const part = async (name: 'readme' | 'changelog' | 'guides'): Promise<string[]> =>
      Object.keys(documents(await read({ ...source, part: name, join: 'file' }, folder)));
    expect(await part('readme')).toEqual(['lib/README.md']);
    expect(await part('changelog')).toEqual(['lib/CHANGELOG.md']);
    expect(await part('guides')).toEqual(['lib/docs/guide.md']);
  });

  test('what is not there is refused in the recipe’s terms', async () => {
    const folder = await folderWith({ 'node_modules/lib/index.js': 'main();' });
    const attempts: FileSource[] = [
      { ...source, packages: ['missing'] },
      { ...source, part: 'readme' },
      { ...source, part: 'docstrings' },
      books,
      { kind: 'chats', files: ['none.jsonl'] },
    ];
    for (const attempt of attempts) {
      const failure = await read(attempt, folder).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(CurationError);
      expect(failure).toHaveProperty('failureClass', 'user-error');
    }
  });
});

describe('the documentation inside Python sources is what Python says it is', () => {
  const source: FileSource = {
    kind: 'packages',
    ecosystem: 'python',
    packages: ['pkg'],
    part: 'docstrings',
    join: 'file',
  };
  const long = 'It does a lot of things that take many words to tell. '.repeat(5).trim();

  test('of a module, its classes and functions, in their order, each under its name', async () => {
    const lines = [
      `"""${long}"""`,
      'import x',
      'def f(a):',
      `    r"""First line.\n\n    ${long}\n\n        indented\n    """`,
      `    return """not a docstring ${long}"""`,
      'try:',
      '    class C:',
      `        "${long}"`,
      '        async def h(self):',
      `            u'${long}'`,
      `            def inner(): '''${long}'''`,
      'except E:',
      '    pass',
      "def g(): '''Short.'''",
    ];
    const folder = await folderWith({
      'site-packages/pkg/mod.py': lines.join('\n'),
      'site-packages/pkg/none.py': 'x = 1\n',
    });
    const items = await read(source, folder);
    const of = (name: string) => `${name}\n\n${long}`;
    const f = `f\n\nFirst line.\n\n${long}\n\n    indented`;
    expect(documents(items)).toEqual({
      'pkg/mod.py': `${[of('pkg/mod.py'), f, of('C'), of('h'), of('inner')].join('\n\n')}\n`,
    });
    expect(badFiles(items)).toEqual({});
  });

  test('code between two other strings is none, though a line begins with the quotes that close the first', async () => {
    const lines = [
      'def query():',
      '    sql = """\n    SELECT 1\n    """',
      `    total = compute(${long.replaceAll(/[ .]+/g, ',')})`,
      '    return total',
      'def other():',
      `    """${long}"""`,
    ];
    const folder = await folderWith({ 'site-packages/pkg/sql.py': lines.join('\n') });
    expect(documents(await read(source, folder))).toEqual({ 'pkg/sql.py': `other\n\n${long}\n` });
  });

  test('what Python can’t parse is bad, and named', async () => {
    const folder = await folderWith({
      'site-packages/pkg/a.py': `"""${long}"""\ndef (:\n`,
      'site-packages/pkg/b.py': `x = ${'('.repeat(100_000)}\n`,
      'site-packages/pkg/c.py': `"""${long}"""\n`,
    });
    const items = await read(source, folder);
    expect(Object.keys(documents(items))).toEqual(['pkg/c.py']);
    expect(badFiles(items)).toEqual({
      'pkg/a.py': 'not Python: invalid syntax (line 2)',
      'pkg/b.py': expect.stringContaining('not Python: ') as string,
    });
  });

  test('a Python that ends, says nonsense, or nothing for too long is replaced for the next source', async () => {
    const folder = await folderWith({
      python: `#!/usr/bin/env node
        console.log('{"python": "0.0"}');
        process.stdin.on('data', (asked) => {
          const { source } = JSON.parse(asked);
          if (source === 'crash') process.exit(1);
          if (source === 'nonsense') console.log('nonsense');
          if (source === 'fine') console.log('{"docstrings": [[null, "text"]]}');
        });`,
    });
    await chmod(join(folder, 'python'), 0o755);
    const parser = await DocstringParser.open(join(folder, 'python'), 5_000);
    for (const broken of ['crash', 'nonsense', 'hang']) {
      expect(await parser.parse(broken)).toHaveProperty('problem');
      expect(await parser.parse('fine')).toEqual({ docstrings: [[null, 'text']] });
    }
    await parser.close();
  });

  test('without a Python the recipe can’t be curated, and the message says what to set', async () => {
    const folder = await folderWith({ 'site-packages/pkg/mod.py': 'x = 1\n' });
    const opening = openSource(source, { ...rootsAt(folder), interpreter: join(folder, 'nowhere') });
    const failure = await opening.catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CurationError);
    expect(failure).toHaveProperty('failureClass', 'user-error');
    expect(failure).toHaveProperty('message', expect.stringContaining('LONGHAUL_TRAINER_PYTHON'));
  });
});

test('the files of a source are named without the place they lie at', async () => {
  const folder = await folderWith({ 'books/a.txt': 'a' });
  const opened = await openSource(books, rootsAt(folder));
  expect(await opened.files()).toEqual([{ name: 'books/a.txt', path: join(folder, 'books/a.txt') }]);
});
