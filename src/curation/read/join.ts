/** Several files as one document. */
import { textProblem } from '../tokens/pieces.js';
import { EMPTY, MAX_DOCUMENT_BYTES, readText } from './files.js';
import type { Reading } from './files.js';
import type { SourceFile, SourceItem } from './source.js';

/** What a file gives to a document: text, nothing (undefined), or a problem that makes it bad. */
export type Part = string | undefined | { readonly problem: string };

/**
 * Reads files in order and joins what `part` makes of each. A bad file is named and left out (an empty one only left out, where
 * `emptyIsFine`: packages have many). A document that grows beyond the largest size goes on in a second one, `<id>#2`, so memory
 * stays bounded.
 */
export async function* joinFiles(
  id: string,
  files: readonly SourceFile[],
  part: (text: string, name: string) => Part | Promise<Part>,
  { emptyIsFine = false, ...how }: Reading & { readonly emptyIsFine?: boolean } = {},
): AsyncGenerator<SourceItem, void, undefined> {
  let parts: string[] = [];
  let size = 0;
  let piece = 1;
  const finished = (): SourceItem => ({
    kind: 'document',
    document: { id: piece === 1 ? id : `${id}#${piece}`, text: parts.join('\n') },
  });
  for (const file of files) {
    const { name } = file;
    const read = await readText(file, how);
    if ('problem' in read) {
      if (emptyIsFine && read.problem === EMPTY) continue;
      yield { kind: 'bad', bad: { path: name, problem: read.problem } };
      continue;
    }
    const text = usable(await part(read.text, name));
    if (typeof text === 'object') {
      yield { kind: 'bad', bad: { path: name, problem: text.problem } };
      continue;
    }
    yield { kind: 'file' };
    if (text === undefined) continue;
    const bytes = Buffer.byteLength(text);
    if (size > 0 && size + bytes > MAX_DOCUMENT_BYTES) {
      yield finished();
      [parts, size, piece] = [[], 0, piece + 1];
    }
    parts.push(text);
    size += bytes;
  }
  if (parts.length > 0) yield finished();
}

function usable(part: Part): Part {
  const problem = typeof part === 'string' ? textProblem(part) : undefined;
  return problem === undefined ? part : { problem };
}
