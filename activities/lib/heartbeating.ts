/** Heartbeats on a timer, of activities that have little or nothing to report: they show that their worker is alive. */
import { Context } from '@temporalio/activity';
import { orCancelled } from './cancellation.js';
import { refusing } from './failures.js';

/**
 * Does the work with heartbeats on a timer, so that a worker that dies meanwhile is missed after the heartbeat timeout.
 * `details`: what each heartbeat tells; nothing by default.
 * @throws as `refusing` and `orCancelled` do.
 */
export async function heartbeating<T>(work: () => Promise<T>, details?: () => unknown): Promise<T> {
  const context = Context.current();
  const everyMs = (context.info.heartbeatTimeoutMs ?? 30_000) / 3;
  const timer = setInterval(() => context.heartbeat(details?.()), everyMs);
  try {
    return await orCancelled(() => refusing(work));
  } finally {
    clearInterval(timer);
  }
}
