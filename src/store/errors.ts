/** What can go wrong with the object store, as one class with a code, so that callers decide by code and not by text. */
import { S3ServiceException } from '@aws-sdk/client-s3';

/**
 * - `not-found`: the store answered that the object is not there
 * - `precondition-failed`: a conditional write did not apply (412, 409); an earlier try of it may have landed
 * - `unavailable`: no usable answer (timeout, reset, 5xx); a write may have landed
 * - `access-denied`: the store refuses the credentials, or the bucket is not there; waiting does not help
 * - `invalid-object`: the object is there but breaks its contract or its digest
 * - `refused`: anything else the store refused
 */
export type StoreErrorCode =
  'not-found' | 'precondition-failed' | 'unavailable' | 'access-denied' | 'invalid-object' | 'refused';

/** Trouble with the object store. Only `invalid-object` says anything about what is stored. */
export class StoreError extends Error {
  override readonly name = 'StoreError';

  constructor(
    readonly code: StoreErrorCode,
    /** The object or prefix concerned. */
    readonly url: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(`${url}: ${message}`, options);
  }
}

/** Is it a StoreError with one of these codes? */
export function isStoreError(error: unknown, ...codes: readonly StoreErrorCode[]): error is StoreError {
  return error instanceof StoreError && (codes.length === 0 || codes.includes(error.code));
}

const ACCESS = new Set([
  'AccessDenied',
  'AuthorizationHeaderMalformed',
  'CredentialsProviderError',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidBucketName',
  'InvalidToken',
  'NoSuchBucket',
  'SignatureDoesNotMatch',
]);

/** The StoreError that an error of the AWS SDK amounts to. Errors that are none of the store's are returned as they are. */
export function translateError(url: string, error: unknown): unknown {
  if (error instanceof StoreError) return error;
  if (error instanceof S3ServiceException) {
    const status = error.$metadata.httpStatusCode ?? 0;
    const message = `the store answered ${status} ${error.name}`;
    return new StoreError(codeOf(status, error.name), url, message, { cause: error });
  }
  if (!(error instanceof Error)) return error;
  if (ACCESS.has(error.name)) {
    return new StoreError('access-denied', url, 'no credentials for the store', { cause: error });
  }
  return isConnectionTrouble(error)
    ? new StoreError('unavailable', url, `${error.name}: ${error.message}`, { cause: error })
    : error;
}

function codeOf(status: number, name: string): StoreErrorCode {
  if (ACCESS.has(name)) return 'access-denied';
  if (status === 404) return 'not-found';
  if (status === 412 || status === 409) return 'precondition-failed';
  if (status >= 500 || status === 408 || status === 429 || name === 'SlowDown' || name === 'BadDigest')
    return 'unavailable';
  if (status === 401 || status === 403) return 'access-denied';
  return 'refused';
}

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
