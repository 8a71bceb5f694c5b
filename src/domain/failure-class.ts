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
