/**
 * Text to token ids with the official Hugging Face binding. Special tokens are never read out of text: a document that
 * mentions "<|eot_id|>" gets the tokens of those characters, as with `encode_special_tokens` in Python.
 */
import { createHash } from 'node:crypto';
import { Tokenizer } from 'tokenizers';
import type { Encoding } from 'tokenizers';
import { z } from 'zod';
import { CurationError } from '../errors.js';
import { PIECE_CHARACTERS, cutIntoPieces } from './pieces.js';

/** Names of the special tokens, Llama-3's. */
const SPECIAL = {
  beginOfText: '<|begin_of_text|>',
  endOfText: '<|end_of_text|>',
  startHeader: '<|start_header_id|>',
  endHeader: '<|end_header_id|>',
  endOfTurn: '<|eot_id|>',
} as const;

/** Ids of the special tokens. */
export type SpecialIds = Readonly<Record<keyof typeof SPECIAL, number>>;

/** Text that is encoded at a time, characters. */
const WINDOW_CHARACTERS = 8 * PIECE_CHARACTERS;
/** What the encoding of a piece takes besides its text, in characters. */
const PIECE_COST = 64;

const tokenizerFileSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int().nonnegative(), content: z.string() })),
});

/** Encodes documents. */
export interface TextTokenizer {
  readonly special: SpecialIds;
  readonly vocabularySize: number;
  /** `sha256:…` of tokenizer.json's bytes. */
  readonly digest: string;
  /** Ids of each text, without special tokens; in parallel over cores. */
  encode(texts: readonly string[]): Promise<Uint32Array[]>;
  /** Ids of a text and how many of the first of them lie within its first `characters` characters. */
  encodePrefixed(texts: readonly PrefixedText[]): Promise<PrefixedIds[]>;
}

/** A text of which the first part is told apart after encoding. */
export interface PrefixedText {
  readonly text: string;
  readonly prefixCharacters: number;
}
export interface PrefixedIds {
  readonly ids: Uint32Array;
  readonly prefixTokens: number;
}

/**
 * Loads a tokenizer.
 * @param json the bytes of tokenizer.json
 * @throws CurationError (user-error) when it isn't one, or lacks one of Llama-3's special tokens.
 */
export function loadTokenizer(json: Uint8Array): TextTokenizer {
  const file = parseFile(json);
  const ids = new Map(file.added_tokens.map(({ id, content }) => [content, id]));
  // Without added tokens the binding has nothing to split text at. Truncation and padding are how somebody called the tokenizer before
  // saving it: they would cut documents short.
  const plain = { ...file, added_tokens: [], post_processor: null, truncation: null, padding: null };
  const binding = Tokenizer.fromString(JSON.stringify(plain));
  const vocabulary = new Set([...Object.values(binding.getVocab(true)), ...ids.values()]);
  return {
    special: specialIds(ids),
    vocabularySize: vocabulary.size,
    digest: `sha256:${createHash('sha256').update(json).digest('hex')}`,
    encode: (texts) => encodeTexts(binding, texts),
    encodePrefixed: (texts) => encodePrefixed(binding, texts),
  };
}

function parseFile(json: Uint8Array): z.infer<typeof tokenizerFileSchema> {
  try {
    return tokenizerFileSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json)));
  } catch {
    throw new CurationError('user-error', 'tokenizer.json is not a Hugging Face tokenizer file');
  }
}

function specialIds(ids: ReadonlyMap<string, number>): SpecialIds {
  const id = (token: string): number => {
    const found = ids.get(token);
    if (found === undefined)
      throw new CurationError('user-error', `tokenizer.json has no special token ${token}`);
    return found;
  };
  return {
    beginOfText: id(SPECIAL.beginOfText),
    endOfText: id(SPECIAL.endOfText),
    startHeader: id(SPECIAL.startHeader),
    endHeader: id(SPECIAL.endHeader),
    endOfTurn: id(SPECIAL.endOfTurn),
  };
}

/** The binding's encodings are many times the size of their ids, so only so much text is in them at once. */
async function encodeTexts(binding: Tokenizer, texts: readonly string[]): Promise<Uint32Array[]> {
  const pieces = texts.map(cutIntoPieces);
  const ids = await encodePieces(binding, pieces.flat(), (encoding) => Uint32Array.from(encoding.getIds()));
  let at = 0;
  return pieces.map((ofText) => joinIds(ids.slice(at, (at += ofText.length))));
}

/** Encodes window by window, and keeps what `take` makes of each encoding. */
async function encodePieces<T>(
  binding: Tokenizer,
  pieces: readonly string[],
  take: (encoding: Encoding, index: number) => T,
): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < pieces.length) {
    const window = windowFrom(pieces, taken.length);
    const encodings = await binding.encodeBatch(window, { addSpecialTokens: false });
    for (const encoding of encodings) taken.push(take(encoding, taken.length));
  }
  return taken;
}

function windowFrom(pieces: readonly string[], start: number): string[] {
  let end = start;
  let characters = 0;
  while (end < pieces.length && (end === start || characters < WINDOW_CHARACTERS)) {
    characters += PIECE_COST + (pieces[end]?.length ?? 0);
    end += 1;
  }
  return pieces.slice(start, end);
}

function joinIds(parts: readonly Uint32Array[]): Uint32Array {
  const ids = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    ids.set(part, at);
    at += part.length;
  }
  return ids;
}

async function encodePrefixed(binding: Tokenizer, texts: readonly PrefixedText[]): Promise<PrefixedIds[]> {
  const pieces = texts.map(({ text }) => cutIntoPieces(text));
  const prefixes = texts.flatMap(({ prefixCharacters }, index) =>
    (pieces[index] ?? []).map((_, piece) => (piece === 0 ? prefixCharacters : 0)),
  );
  const encoded = await encodePieces(binding, pieces.flat(), (encoding, index) => {
    const ids = Uint32Array.from(encoding.getIds());
    return { ids, prefixTokens: encoding.charToToken(prefixes[index] ?? 0) ?? ids.length };
  });
  let at = 0;
  return pieces.map((ofText) => {
    const own = encoded.slice(at, (at += ofText.length));
    return { ids: joinIds(own.map(({ ids }) => ids)), prefixTokens: own[0]?.prefixTokens ?? 0 };
  });
}
