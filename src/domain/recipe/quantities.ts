/** Lengths and token counts as people write them in a recipe, and as people read them in a plan. */
import { z } from 'zod';

const KIBI = 1024;
/** Longest length, and largest count: a hundred times what anybody has trained on. */
const LONGEST = 1e12;
const MOST_TOKENS = 1e15;
const UNITS: Readonly<Record<string, number>> = { K: KIBI, M: KIBI ** 2 };

/**
 * A length in tokens: an integer, or digits with a binary suffix ("64K" is 65,536; "1M" is 1,048,576), as the paper
 * writes them. Output: the integer.
 */
export const lengthSchema = z
  .union([z.int().positive().max(LONGEST), z.string().regex(/^[1-9]\d{0,11}[KM]?$/)], {
    error: 'expected a length in tokens: a positive integer, or binary K or M as in "64K" (65536)',
  })
  .transform(parseLength)
  .refine((length) => length <= LONGEST, `no more than ${LONGEST} tokens`);

/** How "20B" may be written without leaving it open which billion is meant. */
const billionsSchema = z
  .strictObject({
    billions: z.number().positive().max(1e6).describe('Count in billions'),
    unit: z.enum(['decimal', 'binary']).describe('decimal: 10^9; binary: 2^30, as in the paper’s prefixes'),
  })
  .describe('A count in billions, with the billion named');

/** A token count: an integer, or `{billions, unit}`. A bare "20B" is refused, because it has two readings. Output: the integer. */
export const tokenCountSchema = z
  .union([z.int().positive().max(MOST_TOKENS), billionsSchema], {
    error:
      'expected a positive integer, or {"billions": 20, "unit": "decimal"} (10^9) or {"billions": 20, "unit": "binary"} (2^30); "20B" alone has two readings',
  })
  .transform((count) =>
    typeof count === 'number'
      ? count
      : Math.round(count.billions * (count.unit === 'binary' ? KIBI ** 3 : 1e9)),
  )
  .refine((count) => count > 0, 'is no whole token');

function parseLength(length: number | string): number {
  if (typeof length === 'number') return length;
  const factor = UNITS[length.slice(-1)];
  return factor === undefined ? Number(length) : Number(length.slice(0, -1)) * factor;
}

/** A length for people, binary when that is exact: 65536 is "64K", 1000 is "1000". */
export function formatLength(tokens: number): string {
  if (tokens >= KIBI ** 2 && tokens % KIBI ** 2 === 0) return `${tokens / KIBI ** 2}M`;
  if (tokens >= KIBI && tokens % KIBI === 0) return `${tokens / KIBI}K`;
  return String(tokens);
}

const DECIMAL_STEPS: readonly (readonly [number, string])[] = [
  [1e12, 'T'],
  [1e9, 'B'],
  [1e6, 'M'],
  [1e3, 'K'],
];

/** A count for people, decimal, three significant digits: 20971520000 is "21.0B", 819200 is "819K". */
export function formatCount(count: number): string {
  for (const [size, suffix] of DECIMAL_STEPS) {
    if (Math.abs(count) >= size * 0.9995) return `${threeDigits(count / size)}${suffix}`;
  }
  return Number.isInteger(count) ? String(count) : threeDigits(count);
}

const BYTE_STEPS: readonly (readonly [number, string])[] = [
  [1e15, 'PB'],
  [1e12, 'TB'],
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
];

/** Bytes for people, decimal: 96362053632 is "96.4 GB". */
export function formatBytes(bytes: number): string {
  for (const [size, suffix] of BYTE_STEPS) {
    if (bytes >= size * 0.9995) return `${threeDigits(bytes / size)} ${suffix}`;
  }
  return `${bytes} B`;
}

/** A RoPE base or a learning rate for people: 8000000 is "8e6", 64000 is "6.4e4", 0.00001 is "1e-5". */
export function formatScientific(value: number): string {
  return value === 0 ? '0' : Number(value.toPrecision(4)).toExponential().replace('e+', 'e');
}

function threeDigits(value: number): string {
  const magnitude = Math.abs(value);
  return value.toFixed(magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2);
}
