/** JSON Lines: documents by a text field, or dialogues in UltraChat's form. A line is what is counted, and what can be bad. */
import { resolve } from 'node:path';
import { z } from 'zod';
import type { Source } from '../../domain/recipe/sources.js';
import { isBlank, strip } from './strip.js';
import { confined } from './confined.js';
import { MAX_DOCUMENT_BYTES, TOO_LARGE, readLines, requireFile } from './files.js';
import type { Reading } from './files.js';
import type { Document, DocumentSource, SourceFile, SourceItem, SourceRoots } from './source.js';

type LineSource = Extract<Source, { kind: 'jsonl' | 'chats' }>;

/** UltraChat's form: user and assistant in turn. The original has lines that end with a question; those lose it. */
const chatSchema = z.object({ data: z.array(z.string()).min(2) });

/** Opens JSON Lines files. @throws CurationError (user-error) when one isn't there. */
export async function openLineSource(source: LineSource, roots: SourceRoots): Promise<DocumentSource> {
  const files: SourceFile[] = [];
  for (const name of source.files) {
    const path = await confined(resolve(roots.project, name), roots, `${source.kind} source`);
    await requireFile(path, `${source.kind} source`, roots.deadlineMs);
    files.push({ name, path });
  }
  const parse = source.kind === 'chats' ? parseChat : textParser(source.textField);
  const { deadlineMs } = roots;
  return {
    files: () => Promise.resolve(files),
    read: (digests) => readAll(files, parse, { digests, deadlineMs }),
  };
}

type Parsed = Pick<Document, 'text' | 'turns'> | { readonly problem: string };

async function* readAll(
  files: readonly SourceFile[],
  parse: (value: unknown) => Parsed,
  how: Reading,
): AsyncGenerator<SourceItem, void, undefined> {
  for (const file of files) {
    for await (const line of readLines(file, how)) {
      switch (line.kind) {
        case 'line':
          if (!isBlank(line.line)) yield* documentOf(`${file.name}:${line.number}`, line.line, parse);
          break;
        case 'bad-line':
          yield { kind: 'bad', bad: { path: `${file.name}:${line.number}`, problem: line.problem } };
          break;
        case 'bad-file':
          yield { kind: 'bad', bad: { path: file.name, problem: line.problem }, lines: line.lines };
      }
    }
  }
}

function* documentOf(
  id: string,
  line: string,
  parse: (value: unknown) => Parsed,
): Generator<SourceItem, void, undefined> {
  const parsed = parseJson(line, parse);
  if ('problem' in parsed) yield { kind: 'bad', bad: { path: id, problem: parsed.problem } };
  else {
    yield { kind: 'file' };
    yield { kind: 'document', document: { id, ...parsed } };
  }
}

function parseJson(line: string, parse: (value: unknown) => Parsed): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { problem: 'not JSON' };
  }
  const parsed = parse(value);
  return 'text' in parsed && Buffer.byteLength(parsed.text) > MAX_DOCUMENT_BYTES
    ? { problem: TOO_LARGE }
    : parsed;
}

function textParser(field: string): (value: unknown) => Parsed {
  const schema = z.object({ [field]: z.string() });
  return (value) => {
    const text = schema.safeParse(value).data?.[field];
    if (text === undefined) return { problem: `no text in its field "${field}"` };
    return isBlank(text) ? { problem: 'empty' } : { text: text.replaceAll(/\r\n?/g, '\n') };
  };
}

function parseChat(value: unknown): Parsed {
  const turns = chatSchema.safeParse(value).data?.data;
  if (turns === undefined) return { problem: 'no "data" with a question and an answer' };
  const paired = turns
    .slice(0, turns.length - (turns.length % 2))
    .map((turn) => strip(turn.replaceAll(/\r\n?/g, '\n')));
  if (paired.some((turn) => turn === '')) return { problem: 'a turn is empty' };
  return { text: paired.join('\n\n'), turns: paired };
}
