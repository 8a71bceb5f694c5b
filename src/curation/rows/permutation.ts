/**
 * Seeded order without a list: a Feistel network over the next power of four, walked until it lands inside [0, size).
 * Order of any length takes no memory, and position i needs no positions before it.
 */
import { createHash } from 'node:crypto';

const ROUNDS = 6;
const MAX_SIZE = 2 ** 48;

/** A permutation of [0, size): the place of what comes i-th. */
export type Permutation = (index: number) => number;

/** A 32-bit mix of two words (the finaliser of MurmurHash3, twice keyed). */
export function mix32(word: number, key: number): number {
  let value = (word ^ key) >>> 0;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13) ^ key, 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/**
 * A permutation of [0, size) that is a pure function of its seed text.
 * @throws RangeError when size is not an integer in [1, 2^48], or when an index lies outside.
 */
export function seededPermutation(size: number, seed: string): Permutation {
  if (!Number.isInteger(size) || size < 1 || size > MAX_SIZE)
    throw new RangeError(`no permutation of ${size} things`);
  const halfBits = Math.max(1, Math.ceil(Math.log2(size) / 2));
  const half = 2 ** halfBits;
  const keys = roundKeys(seed);
  return (index) => {
    if (!Number.isInteger(index) || index < 0 || index >= size)
      throw new RangeError(`${index} is not below ${size}`);
    let place = index;
    do place = feistel(place, half, keys);
    while (place >= size);
    return place;
  };
}

function feistel(index: number, half: number, keys: readonly number[]): number {
  let left = Math.floor(index / half);
  let right = index % half;
  for (const key of keys) [left, right] = [right, (left ^ (mix32(right, key) % half)) >>> 0];
  return left * half + right;
}

function roundKeys(seed: string): number[] {
  const digest = createHash('sha256').update('longhaul.permutation/1\n').update(seed).digest();
  return Array.from({ length: ROUNDS }, (_, round) => digest.readUInt32BE(round * 4));
}
