/** A recipe reads what the worker lets it read: every kind of source, every way out. */
import { mkdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CurationError } from '../../../src/curation/index.js';
import { openSource } from '../../../src/curation/read/index.js';
import { sourceSchema } from '../../../src/domain/recipe/sources.js';
import type { FileSource } from '../../../src/domain/recipe/sources.js';
import { folderWith, itemsOf, rootsAt } from './support.js';

const SECRET = 'the root secret of the store';
const CONTENT = `{"text": "${SECRET}", "data": ["${SECRET}", "${SECRET}"]}\n`;

/** Every kind of source, asked for a file (or the folder it is in) by a path. */
const KINDS: Readonly<Record<string, (path: string) => FileSource>> = {
  text: (path) => ({ kind: 'text', folder: dirname(path), extensions: ['.js', '.py'], join: 'file' }),
  'text, joined': (path) => ({ kind: 'text', folder: dirname(path), extensions: ['.js'], join: 'folder' }),
  jsonl: (path) => ({ kind: 'jsonl', files: [path], textField: 'text' }),
  chats: (path) => ({ kind: 'chats', files: [path] }),
  npm: (path) => ({
    kind: 'packages',
    ecosystem: 'npm',
    packages: [dirname(path)],
    part: 'code',
    join: 'file',
  }),
  python: (path) => ({
    kind: 'packages',
    ecosystem: 'python',
    packages: [dirname(path)],
    part: 'code',
    join: 'package',
  }),
};

/** A project with allowed folders, and secrets outside and hidden. */
async function project() {
  const folder = await folderWith({
    'secret/x.js': CONTENT,
    'secret/x.py': CONTENT,
    'data/.hidden/x.js': CONTENT,
    'data/shown/.hidden/x.js': CONTENT,
    'data/shown/.x.js': CONTENT,
    'data/shown/a/b/good.js': '{"text": "good"}\n',
    'node_modules/.bin/x.js': CONTENT,
    'node_modules/lib/.cache/x.js': CONTENT,
    'node_modules/lib/good.js': 'good();\n',
    'site-packages/.lib/x.py': CONTENT,
    'database/x.js': CONTENT,
  });
  await symlink(join(folder, 'secret'), join(folder, 'data/link'));
  await symlink(join(folder, 'secret'), join(folder, 'node_modules/link'));
  await symlink(join(folder, 'secret'), join(folder, 'site-packages/link'));
  await symlink(join(folder, 'secret/x.js'), join(folder, 'data/shown/x.js'));
  await symlink(join(folder, 'secret/x.js'), join(folder, 'node_modules/lib/x.js'));
  await mkdir(join(folder, 'data/empty'));
  const roots = {
    ...rootsAt(folder),
    allowed: ['data', 'node_modules', 'site-packages'].map((name) => join(folder, name)),
  };
  return { folder, roots };
}

const WAYS_OUT: Readonly<Record<string, (folder: string) => string>> = {
  'an absolute path': (folder) => join(folder, 'secret/x.js'),
  'a path of the project': () => 'secret/x.js',
  'a path upwards': () => 'data/../secret/x.js',
  'a package upwards': () => '../secret/x.js',
  'a name that begins like an allowed folder': () => 'database/x.js',
  'a link to a folder': () => 'data/link/x.js',
  'a link in place of a package': () => 'link/x.js',
  'a link to a file': () => 'data/shown/x.js',
  'a link to a file of a package': () => 'lib/x.js',
  'a hidden folder': () => 'data/.hidden/x.js',
  'a hidden folder further down': () => 'data/shown/.hidden/x.js',
  'a hidden file': () => 'data/shown/.x.js',
  'a hidden package': () => '.bin/x.js',
  'a hidden package of Python': () => '.lib/x.py',
  'a hidden folder of a package': () => 'lib/.cache/x.js',
  'the system’s own files': () => '/proc/self/environ',
  'the system’s log': () => '/proc/kmsg',
  'a device': () => '/dev/zero',
  'users of the machine': () => '/etc/passwd',
};

describe.each(Object.keys(KINDS))('a source of %s', (kind) => {
  test.each(Object.keys(WAYS_OUT))('does not give away %s', async (way) => {
    const { folder, roots } = await project();
    const source = KINDS[kind]?.(WAYS_OUT[way]?.(folder) ?? '');
    expect(source).toBeDefined();
    if (source === undefined) return;
    // Refused by the recipe's schema, or when it is opened; or it reads what is good there, and nothing else.
    for (const checked of [source, sourceSchema.safeParse(source).data]) {
      if (checked === undefined || checked.kind === 'lookups') continue;
      const read = await openSource(checked, roots)
        .then(async (opened) => itemsOf(opened.read()))
        .catch((error: unknown) => error);
      if (read instanceof Error) {
        expect(read).toBeInstanceOf(CurationError);
        expect(read).toHaveProperty('failureClass', 'user-error');
      }
      expect(JSON.stringify(read)).not.toContain(SECRET);
    }
  });
});

describe('what the worker allows is read', () => {
  test('below an allowed folder, by a path of the project or an absolute one, and through a link that stays inside', async () => {
    const { folder, roots } = await project();
    await symlink(join(folder, 'data/shown'), join(folder, 'data/inside'));
    for (const path of ['data/shown', join(folder, 'data/shown'), 'data/inside']) {
      const source: FileSource = { kind: 'text', folder: path, extensions: ['.js'], join: 'file' };
      const items = await itemsOf((await openSource(source, roots)).read());
      expect(items).toContainEqual({
        kind: 'document',
        document: { id: 'a/b/good.js', text: '{"text": "good"}\n' },
      });
    }
  });

  test('below a folder whose own path has a dot, where that is what is allowed', async () => {
    const folder = await folderWith({ '.store/books/a.txt': 'a' });
    const source: FileSource = { kind: 'text', folder: '.store/books', extensions: ['.txt'], join: 'file' };
    const roots = { ...rootsAt(folder), allowed: [join(folder, '.store')] };
    expect(await itemsOf((await openSource(source, roots)).read())).toHaveLength(2);
  });
});
