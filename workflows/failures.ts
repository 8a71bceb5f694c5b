/** What people should read of a failure. */
import { ApplicationFailure } from '@temporalio/workflow';

/** Type of the innermost ApplicationFailure, which is its failure class; null: there is none. */
export function failureTypeOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const inner = failureTypeOf(error.cause);
  if (inner !== null) return inner;
  return error instanceof ApplicationFailure ? (error.type ?? null) : null;
}
