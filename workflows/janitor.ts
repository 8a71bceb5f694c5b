/** A pass of the janitor, started by its schedule. */
import { proxyActivities } from '@temporalio/workflow';
import type { JanitorActivities } from '../activities/janitor/index.js';
import { janitorInputSchema } from '../src/domain/run/janitor.js';
import type { JanitorInput, JanitorReport } from '../src/domain/run/janitor.js';
import { parsedInput } from './incoming.js';

/** A stage claims its epoch, then its lease, then starts its job: all within seconds. */
const MIN_UPLOAD_AGE_SECONDS = 600;

/** The next pass is never far: trouble that lasts longer than these few tries waits for it. */
const { stopOrphans, recordCutRuns, abortStaleUploads } = proxyActivities<JanitorActivities>({
  startToCloseTimeout: '30 minutes',
  heartbeatTimeout: '1 minute',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumAttempts: 5 },
});

/**
 * Stops jobs that nobody answers for, records runs that were cut, and aborts uploads that nobody will finish.
 * @throws ApplicationFailure of type `user-error` when it is told what it doesn't understand.
 */
export async function janitor(input?: JanitorInput): Promise<JanitorReport> {
  const { minUploadAgeSeconds } = parsedInput(janitorInputSchema, input ?? {});
  const orphans = await stopOrphans();
  const runs = await recordCutRuns();
  const uploads = await abortStaleUploads({
    minAgeSeconds: minUploadAgeSeconds ?? MIN_UPLOAD_AGE_SECONDS,
  });
  return { orphans, runs, uploads };
}
