/**
 * Key-value lookups, in the very text that the trainer's `longhaul_trainer/evaluate/lookup.py` defines: the base model has learned
 * it, and evaluation asks in it. Both sides reproduce the texts of one fixture.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { seededRandom } from './random.js';
import type { Random } from './random.js';
import type { TextTokenizer } from '../tokens/tokenizer.js';

/** The words, in the trainer's own file. */
const WORDS_FILE = new URL(
  '../../../infra/trainer/longhaul_trainer/evaluate/lookup_words.json',
  import.meta.url,
);
const { keys: KEYS, values: VALUES } = z
  .strictObject({ keys: z.array(z.string()).min(2), values: z.array(z.string()).min(2) })
  .parse(JSON.parse(readFileSync(WORDS_FILE, 'utf8')));
/** A lookup is at least this long, tokens, where a row allows it. */
const SHORTEST_TOKENS = 48;
/** Pairs by which the tokens of one are measured. */
const MEASURED_PAIRS = 100;

/** Key and value, both words. */
export type Pair = readonly [key: string, value: string];

/** The JSON object, one pair per line, with its closing newline. */
export function renderTable(pairs: readonly Pair[]): string {
  return `{\n${pairs.map(([key, value]) => `"${key}":"${value}"`).join(',\n')}\n}\n`;
}

/** Table and answered questions as one text. */
export function renderLookup(pairs: readonly Pair[], questions: readonly Pair[]): string {
  return renderTable(pairs) + questions.map(([key, value]) => `"${key}":"${value}"\n`).join('');
}

/** Pairs with distinct keys, at most the square of the number of words; values are drawn independently. */
export function makePairs(count: number, random: Random): Pair[] {
  const keys = KEYS.length;
  return random
    .sample(count <= keys ? keys : keys ** 2, count)
    .map((key) => [keyOf(key, count), VALUES[random.integer(0, VALUES.length - 1)] ?? '']);
}

/** A word; in tables of more pairs than there are words, two joined by "_". */
function keyOf(number: number, count: number): string {
  const first = count <= KEYS.length ? number : Math.floor(number / KEYS.length);
  const second = count <= KEYS.length ? [] : [number % KEYS.length];
  return [first, ...second].map((index) => KEYS[index] ?? '').join('_');
}

/** Pairs to ask for: every pair once in random order, then again, as often as it takes. */
export function makeQuestions(pairs: readonly Pair[], count: number, random: Random): Pair[] {
  const questions: Pair[] = [];
  while (questions.length < count) {
    const order = random.sample(pairs.length, pairs.length);
    questions.push(...order.map((index) => pairs[index]).filter((pair) => pair !== undefined));
  }
  return questions.slice(0, count);
}

/**
 * Lookups of all sizes up to a row, as documents without end. What a pair takes is measured with the tokenizer, so that the
 * longest fit.
 */
export class LookupDocuments {
  private constructor(
    private readonly tokenizer: TextTokenizer,
    private readonly tokensPerPair: number,
    /** Tokens of a document without pairs: its ends, and the table's braces. */
    private readonly frameTokens: number,
  ) {}

  static async open(tokenizer: TextTokenizer): Promise<LookupDocuments> {
    const pairs = makePairs(2 * MEASURED_PAIRS, seededRandom('measure'));
    const tables = [renderTable(pairs.slice(0, MEASURED_PAIRS)), renderTable(pairs)];
    const [few = 0, many = 0] = (await tokenizer.encode(tables)).map((ids) => ids.length);
    const tokensPerPair = (many - few) / MEASURED_PAIRS;
    return new LookupDocuments(tokenizer, tokensPerPair, 2 + few - MEASURED_PAIRS * tokensPerPair);
  }

  /** Texts of one row: whole lookups until they fill it; the last one will be cut. Depends on the seed text alone. */
  async row(lengthTokens: number, seed: string): Promise<Uint32Array[]> {
    const random = seededRandom(seed);
    const documents: Uint32Array[] = [];
    for (let filled = 0; filled < lengthTokens;) {
      const [ids] = await this.tokenizer.encode([this.text(lengthTokens, random)]);
      if (ids === undefined) throw new Error('a text gives an encoding');
      documents.push(framed(ids, this.tokenizer));
      filled += ids.length + 2;
    }
    return documents;
  }

  /**
   * Half of them are as long as the row, the others of any length; any part of a length is pairs and the rest questions. So
   * there are tables as large as the row: looking up reaches as far as the tables that it was learned from.
   */
  private text(lengthTokens: number, random: Random): string {
    const whole = random.integer(0, 1) === 1;
    const shortest = Math.min(SHORTEST_TOKENS, lengthTokens);
    const tokens = whole ? lengthTokens : random.integer(shortest, lengthTokens);
    const places = Math.max(3, Math.floor((tokens - this.frameTokens) / this.tokensPerPair));
    const pairs = makePairs(random.integer(2, Math.min(KEYS.length, places - 1)), random);
    return renderLookup(pairs, makeQuestions(pairs, places - pairs.length, random));
  }
}

/** A document's ids between begin and end of text. */
export function framed(ids: Uint32Array, tokenizer: TextTokenizer): Uint32Array {
  const whole = new Uint32Array(ids.length + 2);
  whole[0] = tokenizer.special.beginOfText;
  whole.set(ids, 1);
  whole[ids.length + 1] = tokenizer.special.endOfText;
  return whole;
}
