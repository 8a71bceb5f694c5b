/** Plain text files below a folder, each a document or joined by subfolder. */
import { relative, resolve, sep } from 'node:path';
import type { Source } from '../../domain/recipe/sources.js';
import { confined } from './confined.js';
import { joinFiles } from './join.js';
import { listFiles, readText, requireFolder } from './files.js';
import type { Reading } from './files.js';
import type { DocumentSource, SourceFile, SourceItem, SourceRoots } from './source.js';

type TextSource = Extract<Source, { kind: 'text' }>;

/** Opens a folder of text files. @throws CurationError (user-error) when the folder isn't there. */
export async function openTextSource(source: TextSource, roots: SourceRoots): Promise<DocumentSource> {
  const folder = await confined(resolve(roots.project, source.folder), roots, 'text source');
  await requireFolder(folder, 'text source', roots.deadlineMs);
  const endings = source.extensions.flatMap((extension) => [extension, `${extension}.gz`]);
  const paths = await listFiles(
    folder,
    (path) => endings.some((ending) => path.endsWith(ending)),
    () => true,
    roots.deadlineMs,
  );
  const files = paths
    .map((path) => ({ path, name: relative(folder, path).split(sep).join('/') }))
    .filter(({ name }) => source.only?.some((start) => name.startsWith(start)) ?? true);
  return {
    files: () => Promise.resolve(files.map((file) => ({ ...file, name: `${source.folder}/${file.name}` }))),
    read: (digests) => {
      const how = { digests, deadlineMs: roots.deadlineMs };
      return source.join === 'file' ? readSingly(files, how) : readByFolder(files, how);
    },
  };
}

async function* readSingly(
  files: readonly SourceFile[],
  how: Reading,
): AsyncGenerator<SourceItem, void, undefined> {
  for (const file of files) {
    const { name } = file;
    const read = await readText(file, how);
    if ('problem' in read) yield { kind: 'bad', bad: { path: name, problem: read.problem } };
    else {
      yield { kind: 'file' };
      yield { kind: 'document', document: { id: name, text: read.text } };
    }
  }
}

async function* readByFolder(
  files: readonly SourceFile[],
  how: Reading,
): AsyncGenerator<SourceItem, void, undefined> {
  const folders = new Map<string, SourceFile[]>();
  for (const file of files) {
    const folder = file.name.split('/')[0] ?? file.name;
    const members = folders.get(folder);
    if (members === undefined) folders.set(folder, [file]);
    else members.push(file);
  }
  for (const [folder, members] of folders)
    yield* joinFiles(folder, members, (text, name) => header(name, text), how);
}

function header(name: string, text: string): string {
  return `# File: ${name}\n${text}`;
}
