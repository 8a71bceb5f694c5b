/**
 * Where a domain's documents come from, as data: what a recipe names and curation reads (src/curation/sources).
 * Paths are relative to the project's folder unless they are absolute. The order of documents is that of the sorted paths
 * (and of lines within a file), so the same recipe over the same files makes the same dataset, byte for byte.
 */
import { z } from 'zod';

const pathSchema = z
  .string()
  .min(1)
  .refine((path) => !path.split('/').includes('..'), 'a path may not contain ".."');

const textSourceSchema = z
  .strictObject({
    kind: z.literal('text'),
    folder: pathSchema.describe('Folder that is searched with its subfolders'),
    extensions: z
      .array(z.string().regex(/^\.[a-z0-9.]+$/))
      .min(1)
      .describe(
        'Files to take, by the end of their names; ".txt.gz" and the like are unpacked while reading',
      ),
    only: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('Only files whose path below the folder starts with one of these; absent: all'),
    join: z
      .enum(['file', 'folder'])
      .describe(
        'file: each file is a document; folder: the files of each direct subfolder make one document',
      ),
  })
  .describe('Plain text files: books, documentation, unpacked repositories');

const packagesSourceSchema = z
  .strictObject({
    kind: z.literal('packages'),
    ecosystem: z
      .enum(['npm', 'python'])
      .describe('npm: node_modules; python: site-packages of the trainer’s environment'),
    packages: z
      .array(
        z
          .string()
          .regex(
            /^@?[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/,
            'expected a package’s name or a part of a package, none of it starting with a dot',
          ),
      )
      .min(1)
      .describe(
        'Names as imported: "@noble/hashes", "jinja2", or a part of a package, as in "networkx/algorithms"',
      ),
    part: z
      .enum(['code', 'readme', 'guides', 'changelog', 'docstrings'])
      .describe(
        'code: source files without minified or machine-made ones; readme, changelog: those files; guides: all other markdown; docstrings: the documentation inside Python sources',
      ),
    join: z
      .enum(['package', 'file'])
      .describe(
        'package: all files of one package make one document, each under its path; file: each file is one',
      ),
  })
  .describe('Installed packages, at the versions the lock files pin');

const jsonlSourceSchema = z
  .strictObject({
    kind: z.literal('jsonl'),
    files: z.array(pathSchema).min(1).describe('JSON Lines files, .gz allowed'),
    textField: z.string().min(1).describe('Field that holds the text'),
  })
  .describe('Documents as JSON Lines, one object per line');

const chatsSourceSchema = z
  .strictObject({
    kind: z.literal('chats'),
    files: z.array(pathSchema).min(1).describe('JSON Lines files, .gz allowed'),
  })
  .describe('Dialogues in UltraChat’s form: {"id": …, "data": [user, assistant, user, …]} per line');

const lookupsSourceSchema = z
  .strictObject({
    kind: z.literal('lookups'),
    share: z
      .number()
      .gt(0)
      .max(1)
      .describe(
        'Share of the domain’s rows that are lookup tables; its other sources share the rest by size',
      ),
  })
  .describe(
    'Generated JSON data files of keys and values followed by questions about them: never repeated, never held out',
  );

/** One source of a domain. */
export const sourceSchema = z
  .discriminatedUnion('kind', [
    textSourceSchema,
    packagesSourceSchema,
    jsonlSourceSchema,
    chatsSourceSchema,
    lookupsSourceSchema,
  ])
  .describe('Where documents come from');
export type Source = z.infer<typeof sourceSchema>;

/** A source that is read from files, which is every one but the generated. */
export type FileSource = Exclude<Source, { kind: 'lookups' }>;

/** A name for people and manifests: "packages npm code", "text data/books". */
export function describeSource(source: Source): string {
  switch (source.kind) {
    case 'text':
      return `text ${source.folder}`;
    case 'packages':
      return `packages ${source.ecosystem} ${source.part} (${source.packages.length})`;
    case 'jsonl':
    case 'chats':
      return `${source.kind} ${source.files.join(' ')}`;
    case 'lookups':
      return 'lookups (generated)';
  }
}
