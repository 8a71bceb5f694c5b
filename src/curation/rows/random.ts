/** A small seeded random generator for generated text. */
import { createHash } from 'node:crypto';

/** Uniform draws, a pure function of the seed text (SplitMix32 over a SHA-256 of it). */
export interface Random {
  /** An integer in [from, to], both included. */
  integer(from: number, to: number): number;
  /** So many different integers of [0, size), in random order. */
  sample(size: number, count: number): number[];
}

/** Makes a generator. */
export function seededRandom(seed: string): Random {
  let state = createHash('sha256').update('longhaul.random/1\n').update(seed).digest().readUInt32LE();
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let value = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
    return ((value ^ (value >>> 15)) >>> 0) / 2 ** 32;
  };
  const integer = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return {
    integer,
    sample: (size, count) => {
      const all = Array.from({ length: size }, (_, index) => index);
      for (let at = 0; at < count; at++) {
        const other = integer(at, size - 1);
        [all[at], all[other]] = [all[other] ?? 0, all[at] ?? 0];
      }
      return all.slice(0, count);
    },
  };
}
