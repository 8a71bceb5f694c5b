/** Failure classes: why an attempt ended. Each has its own budget and reaction; each is a Temporal failure type. */
export const FAILURE_CLASSES = [
  'preempted',
  'capacity',
  'infrastructure',
  'store',
  'hang',
  'data',
  'checkpoint',
  'numerics',
  'out-of-memory',
  'walltime',
  'fenced',
  'cancelled',
  'user-error',
  'unknown',
] as const;

/** Why an attempt ended. */
export type FailureClass = (typeof FAILURE_CLASSES)[number];

/** The class that a failure's type names; `unknown`: it names none. */
export function failureClassOf(type: string | null | undefined): FailureClass {
  return FAILURE_CLASSES.find((one) => one === type) ?? 'unknown';
}
