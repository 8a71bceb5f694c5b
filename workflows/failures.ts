/** What people should read of a failure. */
import { ApplicationFailure } from '@temporalio/workflow';

/** The innermost cause's message. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? messageOf(error.cause) : error.message;
}

/** Type of the innermost ApplicationFailure, which is its failure class; null: there is none. */
export function failureTypeOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const inner = failureTypeOf(error.cause);
  if (inner !== null) return inner;
  return error instanceof ApplicationFailure ? (error.type ?? null) : null;
}
