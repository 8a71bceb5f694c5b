/** Instants, and what an attempt's seconds are counted as. */
import { z } from 'zod';

/** An instant, ISO 8601 in UTC with milliseconds. */
export const instantSchema = z.iso.datetime({ precision: 3 }).describe('ISO 8601, UTC, milliseconds');

/** An instant for people: `2026-11-24 05:06:07 UTC`. */
export function instantText(instant: string): string {
  return `${instant.slice(0, 19).replace('T', ' ')} UTC`;
}

/** Seconds from an instant to now, by two clocks maybe: never negative. */
export function secondsSince(instant: string, nowMs: number): number {
  return Math.max(0, nowMs - Date.parse(instant)) / 1000;
}

/** Seconds of an attempt by what they went into, as its job counts them. */
export const secondsByLabelSchema = z.strictObject({
  import: z.number().nonnegative(),
  load: z.number().nonnegative(),
  firstStep: z.number().nonnegative(),
  step: z.number().nonnegative().describe('Steps after the first'),
  save: z.number().nonnegative().describe('Training stalled by saving'),
  evaluate: z.number().nonnegative(),
  export: z.number().nonnegative(),
});
