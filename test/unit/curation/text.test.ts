import fc from 'fast-check';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from 'tokenizers';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { renderChats } from '../../../src/curation/tokens/chat-template.js';
import {
  LookupDocuments,
  makePairs,
  makeQuestions,
  renderLookup,
  renderTable,
} from '../../../src/curation/rows/lookups.js';
import { seededRandom } from '../../../src/curation/rows/random.js';
import { hashDocument, isHeldOut } from '../../../src/curation/read/split.js';
import { cutIntoPieces } from '../../../src/curation/tokens/pieces.js';
import { isBlank, strip } from '../../../src/curation/read/strip.js';
import { loadTokenizer } from '../../../src/curation/tokens/tokenizer.js';
import { FIXTURES, tokenizer, tokenizerJson } from './support.js';

const PROJECT = join(import.meta.dirname, '../../..');
const styleSchema = z.object({
  texts: z.array(z.object({ text: z.string(), ids: z.array(z.int()) })),
  macbeth: z.object({ tokens: z.int(), weighted: z.int() }),
  chats: z.array(z.object({ turns: z.array(z.string()), ids: z.array(z.int()) })),
});
const goldenSchema = z.object({ 'gpt2-style': styleSchema, 'llama3-style': styleSchema });

async function golden(): Promise<z.infer<typeof goldenSchema>> {
  return goldenSchema.parse(JSON.parse(await readFile(join(FIXTURES, 'tokenizers/golden.json'), 'utf8')));
}

describe.each(['gpt2-style', 'llama3-style'] as const)('tokenisation agrees with Python: %s', (style) => {
  test('texts, special tokens in them left as text', async () => {
    const { texts } = (await golden())[style];
    const ids = await (await tokenizer(style)).encode(texts.map(({ text }) => text));
    expect(ids.map((one) => [...one])).toEqual(texts.map((one) => one.ids));
  });

  test('a book, though it is encoded in pieces', async () => {
    const { macbeth } = (await golden())[style];
    const book = await readFile(join(PROJECT, 'data/books/shakespeare-macbeth.txt'), 'utf8');
    expect(cutIntoPieces(book).length).toBeGreaterThan(3);
    const [ids] = await (await tokenizer(style)).encode([book]);
    expect(ids?.length).toBe(macbeth.tokens);
    expect(ids?.reduce((sum, token, at) => sum + (at + 1) * token, 0)).toBe(macbeth.weighted);
  });

  test('pieces of any text have the ids of the whole', async () => {
    const json = z.looseObject({}).parse(JSON.parse(new TextDecoder().decode(await tokenizerJson(style))));
    const binding = Tokenizer.fromString(JSON.stringify({ ...json, added_tokens: [], post_processor: null }));
    const loaded = await tokenizer(style);
    const words = fc.constantFrom(
      'word',
      'Ünï',
      "it's",
      '42',
      ' ',
      '  ',
      '\n',
      '\n\n',
      '\n  - ',
      '\t',
      '数据',
      '。',
      '\u3000',
      'ก\u0e33',
      '’s',
      'e\u0301',
      '\u0085',
      '\ufeff',
      '(x);',
      '"',
      '🙂',
      '.',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(words, { minLength: 30, maxLength: 60 }), async (parts) => {
        const text = `${parts.join('')}. A word.\nA line.`.repeat(Math.ceil(20_000 / parts.join('').length));
        const whole = await binding.encode(text, null, { addSpecialTokens: false });
        const [ids] = await loaded.encode([text]);
        expect(cutIntoPieces(text).length).toBeGreaterThan(1);
        expect(
          Buffer.from(Uint32Array.from(whole.getIds()).buffer).equals(
            Buffer.from(ids?.buffer ?? new ArrayBuffer(0)),
          ),
        ).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  test('dialogues, as the chat template renders them', async () => {
    const { chats } = (await golden())[style];
    const rendered = await renderChats(
      chats.map(({ turns }) => turns),
      await tokenizer(style),
    );
    expect(rendered.map(({ tokens }) => [...tokens])).toEqual(chats.map(({ ids }) => ids));
  });
});

test('white space is what Python’s str.isspace says, at both ends and nothing else', () => {
  const pythons = new Set([
    ...[0x9, 0xa, 0xb, 0xc, 0xd, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002],
    ...[
      0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
    ],
  ]);
  const wrong: number[] = [];
  for (let code = 0; code < 0x110000; code++) {
    const character = String.fromCodePoint(code);
    const stripped = strip(`${character}a${character}b${character}`);
    const expected = pythons.has(code) ? `a${character}b` : `${character}a${character}b${character}`;
    if (stripped !== expected || isBlank(character) !== pythons.has(code)) wrong.push(code);
  }
  expect(wrong).toEqual([]);
});

test('a tokenizer that was saved while it cut or padded texts cuts and pads no document', async () => {
  const json = await tokenizerJson();
  const file = z.looseObject({}).parse(JSON.parse(new TextDecoder().decode(json)));
  const cut = { direction: 'Right', max_length: 4, strategy: 'LongestFirst', stride: 0 };
  const padded = {
    ...{ strategy: { Fixed: 64 }, direction: 'Right', pad_to_multiple_of: null },
    ...{ pad_id: 0, pad_type_id: 0, pad_token: 'x' },
  };
  const called = new TextEncoder().encode(JSON.stringify({ ...file, truncation: cut, padding: padded }));
  const texts = ['a text of more than four tokens, and of fewer than sixty-four', 'b'];
  expect(await loadTokenizer(called).encode(texts)).toEqual(await loadTokenizer(json).encode(texts));
});

describe('tokenizers that do not fit are refused', () => {
  test('not a tokenizer, or without Llama-3’s special tokens', async () => {
    expect(() => loadTokenizer(new TextEncoder().encode('{}'))).toThrow('not a Hugging Face tokenizer file');
    const text = new TextDecoder().decode(await tokenizerJson()).replaceAll('<|eot_id|>', '<|end|>');
    expect(() => loadTokenizer(new TextEncoder().encode(text))).toThrow('no special token <|eot_id|>');
  });
});

test('pieces of a text put together are the text', () => {
  const words = fc.array(fc.constantFrom('word', ' ', '\n', '\n\n', '  \n', '🙂', 'x'.repeat(300), '\t'), {
    minLength: 1,
    maxLength: 3000,
  });
  fc.assert(
    fc.property(words, (parts) => {
      const text = parts.join('').repeat(3);
      const pieces = cutIntoPieces(text);
      expect(pieces.join('') === text).toBe(true);
      expect(pieces.every((piece) => Buffer.from(piece).toString() === piece)).toBe(true);
    }),
    { numRuns: 30 },
  );
});

describe('the loss of a dialogue counts on what the assistant says', () => {
  test('content and the end of its turn, not headers, not the user', async () => {
    const loaded = await tokenizer();
    const [chat] = await renderChats([['What?', '  That.\n', 'Why?', 'Because.']], loaded);
    const [that, because] = await loaded.encode(['That.', 'Because.']);
    const { endOfTurn } = loaded.special;
    const counted = [...(chat?.tokens ?? [])].filter((_, at) => chat?.mask[at] === 1);
    expect(counted).toEqual([...(that ?? []), endOfTurn, ...(because ?? []), endOfTurn]);
    expect(chat?.tokens[0]).toBe(loaded.special.beginOfText);
  });
});

describe('lookups are the trainer’s, word for word', () => {
  const caseSchema = z.object({
    pairs: z.array(z.tuple([z.string(), z.string()])),
    questions: z.array(z.tuple([z.string(), z.string()])),
    text: z.string(),
  });

  test('the golden texts', async () => {
    const file = join(PROJECT, 'infra/trainer/tests/fixtures/lookup.json');
    const { cases } = z
      .object({ cases: z.array(caseSchema).min(1) })
      .parse(JSON.parse(await readFile(file, 'utf8')));
    for (const { pairs, questions, text } of cases) expect(renderLookup(pairs, questions)).toBe(text);
  });

  test('keys are distinct, and every pair is asked before any is asked again', () => {
    const random = seededRandom('keys');
    const pairs = makePairs(1000, random);
    expect(new Set(pairs.map(([key]) => key)).size).toBe(1000);
    expect(JSON.parse(renderTable(pairs))).toEqual(Object.fromEntries(pairs));
    const few = pairs.slice(0, 5);
    const questions = makeQuestions(few, 12, random);
    expect(new Set(questions.slice(0, 5)).size).toBe(5);
    expect(new Set(questions.slice(5, 10)).size).toBe(5);
  });

  test('a row is filled, by the same lookups for the same seed', async () => {
    const lookups = await LookupDocuments.open(await tokenizer());
    for (const lengthTokens of [64, 256, 2048]) {
      const documents = await lookups.row(lengthTokens, 'seed');
      expect(documents.reduce((sum, document) => sum + document.length, 0)).toBeGreaterThanOrEqual(
        lengthTokens,
      );
      expect(await lookups.row(lengthTokens, 'seed')).toEqual(documents);
      expect(await lookups.row(lengthTokens, 'other')).not.toEqual(documents);
    }
  });
});

describe('lookups reach as far as they are asked for', () => {
  test('tables of every size up to what a row holds, none larger', async () => {
    const bundled = loadTokenizer(await readFile(join(PROJECT, 'models/base-tiny/tokenizer.json')));
    const lookups = await LookupDocuments.open(bundled);
    const [line] = await bundled.encode(['",\n']);
    const endOfPair = line?.[0];
    const sizes: number[] = [];
    for (let row = 0; row < 60; row++) {
      const [first] = await lookups.row(4096, `row ${String(row)}`);
      expect(first?.length).toBeLessThanOrEqual(4096);
      sizes.push(1 + (first?.filter((token) => token === endOfPair).length ?? 0));
    }
    // 817 pairs and one question are what evaluation asks at this length.
    expect(Math.max(...sizes)).toBeLessThanOrEqual(817);
    expect(Math.max(...sizes)).toBeGreaterThan(780);
    for (const most of [200, 400, 600])
      expect(sizes.filter((size) => size > most - 200 && size <= most).length).toBeGreaterThan(4);
  });
});

describe('the held-out split is decided by the text alone', () => {
  test('the books of this project that the base model must not have read', async () => {
    const held = [];
    for (const name of [
      'austen-emma',
      'austen-persuasion',
      'shakespeare-romeo-and-juliet',
      'shakespeare-hamlet',
    ])
      if (isHeldOut(hashDocument(await readFile(join(PROJECT, `data/books/${name}.txt`), 'utf8')), 0.05))
        held.push(name);
    expect(held).toEqual(['austen-emma', 'shakespeare-romeo-and-juliet']);
  });

  test('a larger share holds out a superset, and about that share', () => {
    const hashes = Array.from({ length: 4000 }, (_, index) => hashDocument(`document ${String(index)}`));
    const few = hashes.filter((hash) => isHeldOut(hash, 0.05));
    expect(few.every((hash) => isHeldOut(hash, 0.1))).toBe(true);
    expect(few.length).toBeGreaterThan(140);
    expect(few.length).toBeLessThan(260);
  });
});
