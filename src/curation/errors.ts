/** What can stop curation. */
import type { FailureClass } from '../domain/attempt/failure-class.js';

/** Longest list of files that a message names. */
const NAMED = 10;

/** Curation can't go on as it is, for what is in the data or the recipe. `failureClass` is the Temporal failure type. */
export class CurationError extends Error {
  override readonly name = 'CurationError';

  constructor(
    readonly failureClass: Extract<FailureClass, 'data' | 'user-error'>,
    message: string,
  ) {
    super(message);
  }
}

/** Last characters of a process's standard error that say why it ended. */
const STDERR_TAIL = 1000;

/** A curation process ended without an answer: killed, by people or for memory, or broken. */
export class CurationProcessError extends Error {
  override readonly name = 'CurationProcessError';
  /** JavaScript's heap was full: that happens again, where a kill may not. */
  readonly outOfMemory: boolean;

  constructor(how: string, stderr: string) {
    const heapIsFull = stderr.split('\n').find((line) => line.includes('heap out of memory'));
    const said = heapIsFull ?? stderr.slice(-STDERR_TAIL);
    super(`the curation process ended without an answer: ${how}\n${said}`.trim());
    this.outOfMemory = heapIsFull !== undefined;
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
  if (bad.length > lines.length) lines.push('- … and others');
  const shares = `${percent(badCount / files)} of ${files}, above the allowed ${percent(maxBadShare)} (data.maxBadShare)`;
  return new CurationError('data', [`${source}: ${badCount} bad, ${shares}`, ...lines].join('\n'));
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
