/** Texts in pieces that can be encoded one by one, and texts that can't be. */

/** Longest piece of a document that is encoded at once, characters: pieces are encoded in parallel. */
export const PIECE_CHARACTERS = 8_192;
/** Longest stretch of text without a place to cut, characters: it is encoded whole, and takes a hundred times its size. */
const MAX_PIECE_CHARACTERS = 2 ** 20;
/** With the u flag, only half of a pair that has no other half. */
const HALF_A_CHARACTER = /\p{Surrogate}/u;

/**
 * Cuts a text where no tokenizer can tell: between a letter or digit and the white space, punctuation or symbol after it, or
 * after a single line break between two visible characters. The pre-tokenisers of GPT-2, GPT-4 and Llama-3 all split there, so
 * the ids of the pieces are the ids of the whole. Where there is no such place, there is no cut: a piece may be longer.
 */
export function cutIntoPieces(text: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  while (text.length - start > PIECE_CHARACTERS) {
    const end = placeToCut(text, start + PIECE_CHARACTERS);
    if (end === undefined) break;
    pieces.push(text.slice(start, end));
    start = end;
  }
  if (start < text.length) pieces.push(text.slice(start));
  return pieces;
}

/** What keeps a text from being tokenised; undefined: nothing. */
export function textProblem(text: string): string | undefined {
  if (HALF_A_CHARACTER.test(text)) return 'half of a surrogate pair, which is no character';
  if (text.length <= MAX_PIECE_CHARACTERS) return undefined;
  const longest = cutIntoPieces(text).reduce((most, piece) => Math.max(most, piece.length), 0);
  return longest > MAX_PIECE_CHARACTERS
    ? `${longest} characters without a place to part them at, such as a space between words`
    : undefined;
}

/**
 * Not before apostrophes, which may belong to the word, nor before marks, which do. Characters that only some take for white space
 * (U+0085, U+FEFF, U+001C to U+001F) make no place.
 */
const PLACE = /[\p{L}\p{N}](?=[\s\p{P}\p{S}])(?!['’\ufeff])|[^\s\x85\x1c-\x1f]\n(?=[^\s\x85\x1c-\x1f])/gu;

/** The first place to cut at or after `from`. */
function placeToCut(text: string, from: number): number | undefined {
  PLACE.lastIndex = from - 1;
  const place = PLACE.exec(text);
  return place === null ? undefined : place.index + place[0].length;
}
