/** Opens what a recipe names. */
import type { FileSource } from '../../domain/recipe/sources.js';
import { openLineSource } from './jsonl-source.js';
import { openPackagesSource } from './packages-source.js';
import type { DocumentSource, SourceRoots } from './source.js';
import { openTextSource } from './text-source.js';

export { FileDigests } from './file-digests.js';
export type { Document, DocumentSource, SourceFile, SourceItem, SourceRoots, Turns } from './source.js';

/**
 * Opens a source for reading.
 * @throws CurationError (user-error) when something it names isn't there: checked before anything is launched.
 */
export function openSource(source: FileSource, roots: SourceRoots): Promise<DocumentSource> {
  switch (source.kind) {
    case 'text':
      return openTextSource(source, roots);
    case 'packages':
      return openPackagesSource(source, roots);
    case 'jsonl':
    case 'chats':
      return openLineSource(source, roots);
  }
}
