/** Heartbeats on a timer, of activities that have little or nothing to report: they show that their worker is alive. */
import { Context } from '@temporalio/activity';
import { orCancelled } from './cancellation.js';
import { refusing } from './failures.js';
import { LostTries, MOST_LOST_TRIES } from './lost-tries.js';

/** How an activity heartbeats. */
export interface Heartbeats {
  /** What each heartbeat tells. Default: nothing. */
  readonly details?: () => unknown;
  /** After so many tries in a row whose worker died or came to no heartbeat, the activity is not tried again. */
  readonly mostLostTries?: number;
}

/**
 * Does the work with heartbeats on a timer, so that a worker that dies meanwhile is missed after the heartbeat timeout. The work can
 * send one between them, by what it is given.
 * @throws as `refusing`, `orCancelled` and `LostTries.look` do.
 */
export async function heartbeating<T>(
  work: (beat: () => void) => Promise<T>,
  { details, mostLostTries = MOST_LOST_TRIES }: Heartbeats = {},
): Promise<T> {
  const context = Context.current();
  const lost = new LostTries(context, mostLostTries);
  const beat = (): void => context.heartbeat(lost.in(details?.()));
  const everyMs = (context.info.heartbeatTimeoutMs ?? 30_000) / 3;
  const timer = setInterval(beat, everyMs);
  const tried = async (): Promise<T> => {
    await lost.look();
    return work(beat);
  };
  try {
    return await orCancelled(() => refusing(tried));
  } finally {
    clearInterval(timer);
  }
}
