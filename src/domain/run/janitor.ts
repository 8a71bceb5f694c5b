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
const foundOrphanSchema = z
  .strictObject({
    job: z.string().describe('Its name'),
    why: z.string().describe('Why nobody answers for it, in one sentence'),
    recorded: z.boolean().describe("Whether its end was recorded in the stage's ledger by the janitor"),
  })
  .readonly();
export type FoundOrphan = z.infer<typeof foundOrphanSchema>;

/** What a pass has done. */
export const janitorReportSchema = z
  .strictObject({
    orphans: z.array(foundOrphanSchema).readonly().describe('Jobs that were stopped'),
    runs: z
      .array(z.string())
      .readonly()
      .describe('Runs that were terminated or timed out, whose end was recorded in their ledgers'),
    uploads: z.array(z.string()).readonly().describe('Objects whose multipart uploads were aborted'),
  })
  .readonly();
export type JanitorReport = z.infer<typeof janitorReportSchema>;
