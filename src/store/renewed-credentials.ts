/** Credentials that are read anew once the store refuses them: a file or a session of theirs may have been renewed meanwhile. */
import type { S3Client } from '@aws-sdk/client-s3';
import { defaultProvider } from '@aws-sdk/credential-provider-node';
import { meaningOf } from './answers.js';
import { answerIn } from './errors.js';

/** What a request is signed with. */
interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** The usual `AWS_*`, files and services; files are read again whenever credentials are, which the SDK doesn't do by itself. */
export const readCredentials = () => defaultProvider({ ignoreCache: true });

/**
 * Lets a client that is refused read its credentials anew, and ask once more if they are others by now. Whoever waits for
 * credentials that are still the old ones tries later, as after any refusal.
 */
export function renewRefusedCredentials({ config, middlewareStack }: S3Client): void {
  middlewareStack.add(
    (next) => async (args) => {
      const used = await config.credentials();
      try {
        return await next(args);
      } catch (error) {
        if (!mayBeRefused(error) || !(await areOthers(used, config.credentials))) throw error;
        return next(args);
      }
    },
    { step: 'initialize', priority: 'high', name: 'renewRefusedCredentials' },
  );
}

/** An answer to a HEAD has no word, and an expired session's has the status of any bad request. */
function mayBeRefused(error: unknown): boolean {
  const answer = answerIn(error);
  if (answer === null) return false;
  return (
    meaningOf(answer.status, answer.code).class === 'access-denied' ||
    (answer.status === 400 && answer.code === '')
  );
}

/** Whether there are other credentials than the refused ones, if need be by reading them anew. */
async function areOthers(used: Credentials, read: S3Client['config']['credentials']): Promise<boolean> {
  if (differ(used, await read())) return true;
  try {
    return differ(used, await read({ forceRefresh: true }));
  } catch {
    // As while they are being replaced. What the store said is what matters.
    return false;
  }
}

function differ(one: Credentials, other: Credentials): boolean {
  return (
    one.accessKeyId !== other.accessKeyId ||
    one.secretAccessKey !== other.secretAccessKey ||
    one.sessionToken !== other.sessionToken
  );
}
