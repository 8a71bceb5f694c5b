/** What people should read of a failure. */
import { ActivityFailure, ApplicationFailure, isCancellation } from '@temporalio/workflow';

/** Type of the innermost ApplicationFailure, which is its failure class; null: there is none. */
export function failureTypeOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const inner = failureTypeOf(error.cause);
  if (inner !== null) return inner;
  return error instanceof ApplicationFailure ? (error.type ?? null) : null;
}

/**
 * Whether an activity ended because it was cancelled: it says so, or it threw what Temporal would have tried again had it not been
 * cancelled.
 */
export function isOfCancellation(error: unknown): boolean {
  return (
    isCancellation(error) || (error instanceof ActivityFailure && error.retryState === 'CANCEL_REQUESTED')
  );
}
