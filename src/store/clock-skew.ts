/** Requests that a store refuses for this machine's clock: the client signs by the store's clock as soon as it has heard it. */
import type { S3Client } from '@aws-sdk/client-s3';
import { meaningOf } from './answers.js';
import { answerIn } from './errors.js';

/** Less than the quarter of an hour that a store allows a clock to be off, and more than two answers differ in. */
const MOVED_MS = 60_000;

/**
 * Lets a client that is refused for its clock ask once more, if by the refusal it has learnt what time it is. The SDK does so by itself
 * where a clock goes wrong, not where one is set right again: then its correction was what was wrong.
 */
export function askAgainByTheStoresClock({ config, middlewareStack }: S3Client): void {
  middlewareStack.add(
    (next) => async (args) => {
      const before = config.systemClockOffset;
      try {
        return await next(args);
      } catch (error) {
        const movedMs = Math.abs(config.systemClockOffset - before);
        if (movedMs < MOVED_MS || !mayBeOfTheClock(error)) throw error;
        return next(args);
      }
    },
    { step: 'initialize', priority: 'high', name: 'askAgainByTheStoresClock' },
  );
}

/** An answer to a HEAD has no word. */
function mayBeOfTheClock(error: unknown): boolean {
  const answer = answerIn(error);
  if (answer === null) return false;
  return (
    meaningOf(answer.status, answer.code).class === 'clock-skewed' ||
    (answer.status === 403 && answer.code === '')
  );
}
