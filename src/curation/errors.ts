/** What can stop curation. All of it is in the data or the recipe, so nothing here is worth retrying as it is. */
import type { FailureClass } from '../domain/failure-class.js';

/** Longest list of files that a message names. */
const NAMED = 10;

/** Curation can't go on. `failureClass` is the Temporal failure type. */
export class CurationError extends Error {
  override readonly name = 'CurationError';

  constructor(
    readonly failureClass: Extract<FailureClass, 'data' | 'user-error'>,
    message: string,
  ) {
    super(message);
  }
}

/** A file or a line that could not be used, and why. */
export interface BadFile {
  readonly path: string;
  readonly problem: string;
}

/** More of a source is bad than the recipe allows. */
export function tooManyBad(
  source: string,
  bad: readonly BadFile[],
  badCount: number,
  files: number,
  maxBadShare: number,
): CurationError {
  const lines = bad.slice(0, NAMED).map(({ path, problem }) => `- ${path}: ${problem}`);
  if (badCount > lines.length) lines.push(`- … and ${badCount - lines.length} more`);
  const shares = `${percent(badCount / files)} of ${files}, above the allowed ${percent(maxBadShare)} (data.maxBadShare)`;
  return new CurationError('data', [`${source}: ${badCount} bad, ${shares}`, ...lines].join('\n'));
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
