/** Installed packages as repositories: their code, or one of the kinds of documentation they carry. */
import { basename, join, relative, sep } from 'node:path';
import type { Source } from '../../domain/recipe/sources.js';
import { CurationError } from '../errors.js';
import { confined } from './confined.js';
import { listFiles, requireFolder } from './files.js';
import type { Reading } from './files.js';
import { joinFiles } from './join.js';
import type { Part as FilePart } from './join.js';
import { DocstringParser } from './python-docstrings.js';
import type { Docstrings } from './python-docstrings.js';
import type { DocumentSource, SourceFile, SourceItem, SourceRoots } from './source.js';

type PackagesSource = Extract<Source, { kind: 'packages' }>;
type Ecosystem = PackagesSource['ecosystem'];
type Part = PackagesSource['part'];

/** Source files people wrote are shorter than this and have no lines as long as that; bundles and tables are not and have. */
const MAX_CODE_CHARACTERS = 300_000;
const MAX_LINE_CHARACTERS = 2_000;

const CODE: Readonly<Record<Ecosystem, RegExp>> = { npm: /\.([cm]?[jt]s|[jt]sx)$/, python: /\.pyi?$/ };
/** Declarations the compiler made, minified code, and the one module whose text depends on the machine it was built for. */
const MADE = /(\.d\.[cm]?ts|\.min\.[cm]?js|\/__config__\.py|\/_?version\.py)$/;
const README = /^readme(\.[a-z-]+)?\.(md|markdown|rst|txt)$/i;
const CHANGELOG = /^(change(s|log)|history|releases?|news)\.(md|markdown|rst|txt)$/i;
const LEGAL =
  /^(licen[cs]e|notice|third-party|security|code[-_]of[-_]conduct|contributing|authors|governance)/i;

/** Opens packages. @throws CurationError (user-error) for one that isn't installed or has nothing of that part. */
export async function openPackagesSource(
  source: PackagesSource,
  roots: SourceRoots,
): Promise<DocumentSource> {
  if (source.part === 'docstrings' && source.ecosystem !== 'python')
    throw new CurationError('user-error', 'packages source: only Python sources have docstrings');
  const root = source.ecosystem === 'npm' ? roots.npm : roots.python;
  const packages = new Map<string, SourceFile[]>();
  for (const name of source.packages) packages.set(name, await filesOf(name, root, source, roots));
  const files = () => Promise.resolve([...packages.values()].flat());
  const { part } = source;
  const { deadlineMs } = roots;
  if (part !== 'docstrings')
    return {
      files,
      read: (digests) =>
        readAll(packages, source.join, reader(part, source.ecosystem), { digests, deadlineMs }),
    };
  const parser = await DocstringParser.open(roots.interpreter);
  await parser.close();
  return {
    files,
    readBy: `Python ${parser.version}`,
    read: (digests) => readDocstrings(packages, source.join, roots.interpreter, { digests, deadlineMs }),
  };
}

async function* readDocstrings(
  packages: ReadonlyMap<string, readonly SourceFile[]>,
  join: PackagesSource['join'],
  interpreter: string,
  how: Reading,
): AsyncGenerator<SourceItem, void, undefined> {
  const parser = await DocstringParser.open(interpreter);
  try {
    const part: Reader = async (text, name) => documentation(name, await parser.parse(text));
    yield* readAll(packages, join, part, how);
  } finally {
    await parser.close();
  }
}

/** Shorter docstrings are labels, not documentation. */
const MIN_DOCSTRING_CHARACTERS = 200;

/** Docstrings one after the other, each under the name of what it documents; undefined when none is worth reading. */
function documentation(path: string, parsed: Docstrings): FilePart {
  if ('problem' in parsed) return parsed;
  const long = parsed.docstrings.filter(([, text]) => text.length >= MIN_DOCSTRING_CHARACTERS);
  return long.length === 0
    ? undefined
    : `${long.map(([name, text]) => `${name ?? path}\n\n${text}`).join('\n\n')}\n`;
}

async function filesOf(
  name: string,
  root: string,
  source: PackagesSource,
  roots: SourceRoots,
): Promise<SourceFile[]> {
  const whatFor = `${source.ecosystem} package ${name} isn't installed`;
  const folder = await confined(join(root, name), roots, whatFor);
  await requireFolder(folder, whatFor, roots.deadlineMs);
  const take = taker(source.ecosystem, source.part);
  const paths = await listFiles(
    folder,
    take,
    (entry) => !['node_modules', '__pycache__', '.git'].includes(entry),
    roots.deadlineMs,
  );
  if (paths.length === 0)
    throw new CurationError(
      'user-error',
      `${source.ecosystem} package ${name} has no files for "${source.part}"`,
    );
  return paths.map((path) => ({ path, name: join(name, relative(folder, path)).split(sep).join('/') }));
}

function taker(ecosystem: Ecosystem, part: Part): (path: string) => boolean {
  switch (part) {
    case 'code':
    case 'docstrings':
      return (path) => CODE[ecosystem].test(path) && !MADE.test(path);
    case 'readme':
      return (path) => README.test(basename(path));
    case 'changelog':
      return (path) => CHANGELOG.test(basename(path));
    case 'guides':
      return (path) => {
        const name = basename(path);
        return (
          /\.(md|markdown|rst)$/i.test(name) && ![README, CHANGELOG, LEGAL].some((other) => other.test(name))
        );
      };
  }
}

type Reader = (text: string, name: string) => FilePart | Promise<FilePart>;

function reader(part: Exclude<Part, 'docstrings'>, ecosystem: Ecosystem): Reader {
  switch (part) {
    case 'code':
      return (text, name) =>
        looksWritten(text) ? `${ecosystem === 'npm' ? '//' : '#'} File: ${name}\n${text}` : undefined;
    case 'readme':
    case 'changelog':
    case 'guides':
      return (text) => text;
  }
}

function looksWritten(text: string): boolean {
  if (text.length > MAX_CODE_CHARACTERS) return false;
  for (let start = 0; start < text.length;) {
    const end = text.indexOf('\n', start);
    if ((end === -1 ? text.length : end) - start > MAX_LINE_CHARACTERS) return false;
    if (end === -1) return true;
    start = end + 1;
  }
  return true;
}

async function* readAll(
  packages: ReadonlyMap<string, readonly SourceFile[]>,
  join: PackagesSource['join'],
  part: Reader,
  how: Reading,
): AsyncGenerator<SourceItem, void, undefined> {
  const options = { emptyIsFine: true, ...how };
  for (const [name, files] of packages) {
    if (join === 'package') yield* joinFiles(name, files, part, options);
    else for (const file of files) yield* joinFiles(file.name, [file], part, options);
  }
}
