/**
 * Text to token ids with the official Hugging Face binding. Special tokens are never read out of text: a document that
 * mentions "<|eot_id|>" gets the tokens of those characters, as with `encode_special_tokens` in Python.
 */
import { createHash } from 'node:crypto';
import { Tokenizer } from 'tokenizers';
import { z } from 'zod';
import { CurationError } from './errors.js';

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

/** Longest piece of a document that is encoded at once, characters: pieces are encoded in parallel. */
const PIECE_CHARACTERS = 8_192;
/** Text that is encoded at a time, characters. */
const WINDOW_CHARACTERS = 8 * PIECE_CHARACTERS;

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
  // Without added tokens the binding has nothing to split text at.
  const binding = Tokenizer.fromString(JSON.stringify({ ...file, added_tokens: [], post_processor: null }));
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
  const flat = pieces.flat();
  const ids: Uint32Array[] = [];
  while (ids.length < flat.length) {
    const window = windowFrom(flat, ids.length);
    const encodings = await binding.encodeBatch(window, { addSpecialTokens: false });
    ids.push(...encodings.map((encoding) => Uint32Array.from(encoding.getIds())));
  }
  let at = 0;
  return pieces.map((ofText) => joinIds(ids.slice(at, (at += ofText.length))));
}

function windowFrom(pieces: readonly string[], start: number): string[] {
  let end = start;
  let characters = 0;
  while (end < pieces.length && (end === start || characters < WINDOW_CHARACTERS)) {
    characters += pieces[end]?.length ?? 0;
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
  const encodings = await binding.encodeBatch(
    texts.map(({ text }) => text),
    { addSpecialTokens: false },
  );
  return encodings.map((encoding, index) => {
    const prefix = texts[index]?.prefixCharacters ?? 0;
    const ids = Uint32Array.from(encoding.getIds());
    return { ids, prefixTokens: encoding.charToToken(prefix) ?? ids.length };
  });
}

/**
 * Cuts a text where no tokenizer can tell: before a single space between a visible character and a letter, or after a single
 * line break between two visible characters. The pre-tokenisers of GPT-2, GPT-4 and Llama-3 all split there, so the ids of
 * the pieces are the ids of the whole. A text without such a place in 16 pieces' length is cut at the piece's end.
 */
export function cutIntoPieces(text: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  while (text.length - start > PIECE_CHARACTERS) {
    const end = placeToCut(text, start + PIECE_CHARACTERS);
    pieces.push(text.slice(start, end));
    start = end;
  }
  if (start < text.length) pieces.push(text.slice(start));
  return pieces;
}

const PLACE = /\S(?: (?=\p{L})|\n(?=\S))/u;

function placeToCut(text: string, from: number): number {
  const place = PLACE.exec(text.slice(from - 1, from + 16 * PIECE_CHARACTERS));
  if (place !== null) {
    const end = from - 1 + place.index + place[0].length;
    return place[0].endsWith(' ') ? end - 1 : end;
  }
  // A cut between the two halves of a surrogate pair would break a character.
  const code = text.charCodeAt(from - 1);
  return code >= 0xd800 && code < 0xdc00 ? from - 1 : from;
}
