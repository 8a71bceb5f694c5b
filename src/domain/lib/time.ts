/** Instants, and what an attempt's seconds are counted as. */
import { z } from 'zod';

/** An instant, ISO 8601 in UTC with milliseconds. */
export const instantSchema = z.iso.datetime({ precision: 3 }).describe('ISO 8601, UTC, milliseconds');

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
