/** Reads a source to its end: what memory that takes is seen from outside. Its request is on standard input. */
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { openSource } from '../../../src/curation/read/index.js';
import { rootsSchema } from '../../../src/curation/process/messages.js';
import { sourceSchema } from '../../../src/domain/recipe/sources.js';

const request = z
  .strictObject({ source: sourceSchema, roots: rootsSchema })
  .parse(JSON.parse(await text(process.stdin)));
if (request.source.kind === 'lookups') throw new Error('lookups are not read from files');
const bad: string[] = [];
let documents = 0;
for await (const item of (await openSource(request.source, request.roots)).read()) {
  if (item.kind === 'document') documents += 1;
  if (item.kind === 'bad') bad.push(`${item.bad.path}: ${item.bad.problem}`);
}
process.stdout.write(JSON.stringify({ documents, bad }));
