/**
 * What a store's answer means, as one table says for both languages: `answers.json` of the trainer, whose image holds it
 * too and whose `answers.py` reads the same rows.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { FAILURE_CLASSES } from '../domain/attempt/failure-class.js';

/** Classes of answers; the table says what each means. */
export const ANSWER_CLASSES = [
  'not-found',
  'precondition-failed',
  'unavailable',
  'access-denied',
  'clock-skewed',
  'wrong-address',
  'out-of-range',
  'refused',
] as const;

/** Class of an answer. */
export type AnswerClass = (typeof ANSWER_CLASSES)[number];

const classSchema = z.strictObject({
  meaning: z.string(),
  retry: z
    .enum(['no', 'briefly', 'patiently'])
    .describe(
      '`briefly`: for a few minutes, with credentials read anew; `patiently`: as long as there is time',
    ),
  failure: z.enum(FAILURE_CLASSES).describe('Failure class of work that ends by it'),
  remedy: z.string().describe('What an operator can do'),
});
const rowSchema = z.strictObject({
  status: z.int().optional().describe('HTTP status it comes with'),
  class: z.enum(ANSWER_CLASSES),
  remedy: z.string().optional().describe('Default: that of the class'),
});
const tableSchema = z.strictObject({
  classes: z.record(z.enum(ANSWER_CLASSES), classSchema),
  codes: z.record(z.string(), rowSchema).describe("By the store's own word for it"),
  statuses: z
    .record(z.string(), rowSchema)
    .describe(
      'By HTTP status, where the answer has no word that is known; `4xx`: other such; `any`: all others',
    ),
});

const FILE = new URL('../../infra/trainer/longhaul_trainer/store/answers.json', import.meta.url);

/** The table. */
export const STORE_ANSWERS = tableSchema.parse(JSON.parse(readFileSync(FILE, 'utf8')));

/** What an answer means, and what an operator can do about it. */
export interface AnswerMeaning {
  readonly class: AnswerClass;
  readonly remedy: string;
}

/** Meaning of an answer with this HTTP status and code; `code` empty: it has none of the store's, as a proxy's page. */
export function meaningOf(status: number, code: string): AnswerMeaning {
  const { codes, statuses } = STORE_ANSWERS;
  const family = `${String(Math.floor(status / 100))}xx`;
  const row = codes[code] ?? statuses[String(status)] ?? statuses[family] ?? statuses['any'];
  const answerClass = row?.class ?? 'unavailable';
  return { class: answerClass, remedy: row?.remedy ?? STORE_ANSWERS.classes[answerClass].remedy };
}
