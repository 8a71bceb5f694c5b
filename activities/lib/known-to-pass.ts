/** Trouble that is known to pass by itself. Whatever is not known to is not tried without end. */
import { isGrpcServiceError } from '@temporalio/client';
import { isStoreError } from '../../src/store/errors.js';

/** Codes of connections that fail, as the operating system, Node and its HTTP client name them. */
const CONNECTION_CODES = new Set([
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);
/** gRPC's CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED and UNAVAILABLE. */
const PASSING_GRPC_CODES = new Set<number>([1, 4, 8, 10, 14]);
/** RESOURCE_EXHAUSTED too, but a message over the limit is over it in the next try as well. */
const TOO_LARGE = /larger than max/i;
/** Causes that are looked at, one below the other. */
const MOST_CAUSES = 10;

/** Whether an error, or what it was caused by, is an outage of the store or Temporal, or of a connection to either. */
export function isKnownToPass(error: Error): boolean {
  return causesOf(error).some(isPassing);
}

/** An error, its cause, and the cause of that, up to a few. */
export function causesOf(error: Error): Error[] {
  const causes = [error];
  for (let next = error.cause; next instanceof Error && causes.length < MOST_CAUSES; next = next.cause) {
    causes.push(next);
  }
  return causes;
}

function isPassing(error: Error): boolean {
  if (isStoreError(error)) return error.code === 'unavailable';
  // What the AWS SDK throws over an answer that it can't read: a proxy's page, say.
  if ('$metadata' in error || '$response' in error) return true;
  if (isGrpcServiceError(error)) return PASSING_GRPC_CODES.has(error.code) && !TOO_LARGE.test(error.message);
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true;
  return 'code' in error && typeof error.code === 'string' && CONNECTION_CODES.has(error.code);
}
