/** What can go wrong with the object store, as one class with a code, so that callers decide by code and not by text. */
import { STORE_ANSWERS, meaningOf } from './answers.js';
import type { AnswerClass } from './answers.js';

/**
 * What an answer of the store means, as the table of `answers.ts` says (no answer at all is `unavailable`), or
 * `invalid-object`: the object is there but breaks its contract or its digest.
 */
export type StoreErrorCode = AnswerClass | 'invalid-object';

const RESTORE = 'put the object back as it was (a bucket with versions still has it), then retry';

/** Trouble with the object store. Only `invalid-object` says anything about what is stored. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  /** What an operator can do about it. */
  readonly remedy: string;

  constructor(
    readonly code: StoreErrorCode,
    /** The object or prefix concerned. */
    readonly url: string,
    message: string,
    { remedy, ...options }: ErrorOptions & { readonly remedy?: string } = {},
  ) {
    super(`${url}: ${message}`, options);
    this.remedy = remedy ?? (code === 'invalid-object' ? RESTORE : STORE_ANSWERS.classes[code].remedy);
  }
}

/** Is it a StoreError with one of these codes? */
export function isStoreError(error: unknown, ...codes: readonly StoreErrorCode[]): error is StoreError {
  return error instanceof StoreError && (codes.length === 0 || codes.includes(error.code));
}

/** An answer that was no success, as the AWS SDK tells of it. */
interface Answer {
  readonly status: number;
  /** The store's own word, from the answer's body; empty where there is none: to a HEAD, or by a proxy. */
  readonly code: string;
}

/**
 * The answer that an error of the AWS SDK is about, null: it is about none. The SDK's own name for an error is not looked at: it
 * calls every 404 without a word `NotFound`, a proxy's page too, and throws a plain error over a page that is no XML.
 */
export function answerIn(error: unknown): Answer | null {
  if (!(error instanceof Error) || !('$metadata' in error)) return null;
  const { $metadata: metadata } = error;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return null;
  const { httpStatusCode: status } = metadata;
  if (typeof status !== 'number') return null;
  return { status, code: 'Code' in error && typeof error.Code === 'string' ? error.Code : '' };
}

/** The StoreError that an error of the AWS SDK amounts to. Errors that are none of the store's are returned as they are. */
export function translateError(url: string, error: unknown): unknown {
  if (error instanceof StoreError || !(error instanceof Error)) return error;
  const answer = answerIn(error);
  if (answer !== null) {
    const { status, code } = answer;
    const { class: answerClass, remedy } = meaningOf(status, code);
    const message = `the store answered ${String(status)} ${code === '' ? 'without a word of its own' : code}`;
    return new StoreError(answerClass, url, message, { cause: error, remedy });
  }
  if (NO_CREDENTIALS.has(error.name)) {
    return new StoreError('access-denied', url, 'no credentials for the store', { cause: error });
  }
  return isConnectionTrouble(error)
    ? new StoreError('unavailable', url, `${error.name}: ${error.message}`, { cause: error })
    : error;
}

const NO_CREDENTIALS = new Set(['CredentialsProviderError', 'TokenProviderError']);

const CONNECTION_CODES = new Set([
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

function isConnectionTrouble(error: Error): boolean {
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true;
  return 'code' in error && typeof error.code === 'string' && CONNECTION_CODES.has(error.code);
}
