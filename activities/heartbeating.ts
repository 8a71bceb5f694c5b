/** Heartbeats of activities that have nothing to report: they only show that their worker is alive. */
import { Context } from '@temporalio/activity';
import { refusing } from './failures.js';

/**
 * Does the work with heartbeats on a timer, so that a worker that dies meanwhile is missed after the heartbeat timeout.
 * @throws as `refusing` does.
 */
export async function heartbeating<T>(work: () => Promise<T>): Promise<T> {
  const context = Context.current();
  const everyMs = (context.info.heartbeatTimeoutMs ?? 30_000) / 3;
  const timer = setInterval(() => context.heartbeat(), everyMs);
  try {
    return await refusing(work);
  } finally {
    clearInterval(timer);
  }
}
