/** The domains a dataset is made of: their sources opened, and a digest of everything that will be read. */
import { createHash } from 'node:crypto';
import { digestOf } from '../../domain/lib/digest.js';
import { describeSource } from '../../domain/recipe/sources.js';
import type { FileSource, Source } from '../../domain/recipe/sources.js';
import { CurationError } from '../errors.js';
import { FileDigests, openSource } from './index.js';
import type { DocumentSource, SourceFile, SourceRoots } from './index.js';

/** A domain, ready to be read. */
export interface OpenDomain {
  readonly name: string;
  readonly sources: readonly OpenSource[];
  /** Share of its rows that are lookup tables, 0 to 1. */
  readonly lookupShare: number;
  /** All of its documents are dialogues, and so have a mask. */
  readonly masked: boolean;
  /** Of the descriptions of its file sources and of the bytes they will read. */
  readonly digest: string;
}

/** One source of a domain. */
export interface OpenSource {
  /** "code: packages npm code (12)". */
  readonly name: string;
  readonly documents: DocumentSource;
  /** Of its files as they are now, and must still be when they are read. */
  readonly fileDigests: FileDigests;
}

/**
 * Opens the named domains and hashes every file they read.
 * @param sources the recipe's `data.sources`
 * @throws CurationError (user-error) for a source that isn't there or lookups that can't be mixed in.
 */
export async function openDomains(
  names: readonly string[],
  sources: Readonly<Record<string, readonly Source[]>>,
  roots: SourceRoots,
): Promise<OpenDomain[]> {
  const domains: OpenDomain[] = [];
  for (const name of names) domains.push(await openDomain(name, sources[name] ?? [], roots));
  return domains;
}

async function openDomain(name: string, sources: readonly Source[], roots: SourceRoots): Promise<OpenDomain> {
  const fileSources = sources.filter((source): source is FileSource => source.kind !== 'lookups');
  const lookupShare = sources.reduce(
    (sum, source) => sum + (source.kind === 'lookups' ? source.share : 0),
    0,
  );
  if (lookupShare > 1 || (lookupShare < 1 && fileSources.length === 0))
    throw new CurationError(
      'user-error',
      `data.sources.${name}: lookups have ${lookupShare} of the rows, and ${fileSources.length} sources share the rest`,
    );
  const opened: OpenSource[] = [];
  const digests: unknown[] = [];
  for (const source of fileSources) {
    const documents = await openSource(source, roots);
    const fileDigests = new FileDigests(roots.deadlineMs);
    opened.push({ name: `${name}: ${describeSource(source)}`, documents, fileDigests });
    const { readBy = null } = documents;
    digests.push({ source, readBy, files: await digestFiles(await documents.files(), fileDigests) });
  }
  const masked = fileSources.length > 0 && fileSources.every((source) => source.kind === 'chats');
  return { name, sources: opened, lookupShare, masked, digest: digestOf(digests) };
}

/** One digest over names and contents. */
async function digestFiles(files: readonly SourceFile[], digests: FileDigests): Promise<string> {
  const all = createHash('sha256');
  for (const file of files) all.update(`${file.name} ${await digests.take(file)}\n`);
  return all.digest('hex');
}
