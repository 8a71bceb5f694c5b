/** Names and figures of the janitor: what it is called in Temporal, and when it comes. */
import { z } from 'zod';

/** Its schedule, and the workflow that the schedule starts. */
export const JANITOR_ID = 'longhaul-janitor';

/** Seconds between its passes. It is the third to notice an orphan, after the attempt's own watcher and the job's lease. */
export const JANITOR_EVERY_SECONDS = 300;

/** What the janitor is told. */
export const janitorInputSchema = z
  .strictObject({
    minUploadAgeSeconds: z
      .number()
      .nonnegative()
      .max(365 * 24 * 3600)
      .optional()
      .describe(
        'Multipart uploads younger than this are left alone: somebody may be about to claim the stage. Seconds',
      ),
  })
  .describe('What the janitor is told; nothing by default');
export type JanitorInput = z.infer<typeof janitorInputSchema>;

/** A job that was left without anybody to answer for it. */
export interface FoundOrphan {
  readonly job: string;
  readonly why: string;
  /** Whether its end was recorded in the stage's ledger by the janitor. */
  readonly recorded: boolean;
}

/** What a pass has done. */
export interface JanitorReport {
  readonly orphans: readonly FoundOrphan[];
  /** Runs that were terminated or timed out, whose end was recorded in their ledgers. */
  readonly runs: readonly string[];
  /** Objects whose multipart uploads were aborted. */
  readonly uploads: readonly string[];
}
