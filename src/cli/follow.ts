/** Follows a run to its end. */
import { CancelledFailure, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunStatus } from '../domain/run/status.js';
import { innermostMessageOf } from '../domain/lib/text.js';
import { RunWatcher } from './run-watcher.js';
import type { RunView } from './run-view.js';
import { UserError } from './user-error.js';

/** How following a run ended. */
export type RunEnd =
  | { readonly state: 'completed'; readonly status: RunStatus | undefined }
  | {
      readonly state: 'failed' | 'cancelled';
      readonly status: RunStatus | undefined;
      /** Sentences for people, never empty. */
      readonly problems: readonly string[];
    }
  /** The follower was told to leave; the run goes on. */
  | { readonly state: 'left' };

const EVERY_MS = 1000;

/** Shows the run until it ends or `signal` fires. */
export async function followRun(
  client: Client,
  run: string,
  view: RunView,
  signal: AbortSignal,
): Promise<RunEnd> {
  const watcher = new RunWatcher(client, run);
  let end: Outcome | undefined;
  // A call that is under way when its connection closes throws where nobody can catch it.
  const leave = new AbortController();
  // Each long poll of the client listens anew, for as long as the run is followed.
  setMaxListeners(0, leave.signal);
  const outcome = outcomeOf(client, run, leave.signal).then((result) => {
    end = result;
  });
  try {
    while (end === undefined) {
      if (signal.aborted) return { state: 'left' };
      const status = await watcher.read();
      view.show(status, watcher.isHeld);
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
    return await endOf(end, watcher);
  } finally {
    leave.abort();
    await outcome;
    view.close();
  }
}

type Outcome =
  | { readonly state: 'completed' }
  | { readonly state: 'failed' | 'cancelled'; readonly problem: string }
  | { readonly state: 'error'; readonly error: unknown };

async function outcomeOf(client: Client, run: string, leave: AbortSignal): Promise<Outcome | undefined> {
  while (!leave.aborted) {
    try {
      await client.withAbortSignal(leave, () => client.workflow.getHandle(run).result());
      return { state: 'completed' };
    } catch (error) {
      if (error instanceof WorkflowFailedError) {
        const state = error.cause instanceof CancelledFailure ? 'cancelled' : 'failed';
        return { state, problem: innermostMessageOf(error) };
      }
      if (error instanceof WorkflowNotFoundError) return { state: 'error', error: noSuchRun(run) };
      // The server may be restarting: the run is as durable as its database, so ask again.
      await sleep(EVERY_MS, undefined, { signal: leave }).catch(() => undefined);
    }
  }
  return undefined;
}

function noSuchRun(run: string): UserError {
  return new UserError(`There is no run ${run}.`);
}

async function endOf(outcome: Outcome, watcher: RunWatcher): Promise<RunEnd> {
  if (outcome.state === 'error') throw outcome.error;
  const status = await watcher.read();
  if (outcome.state === 'completed') return { state: 'completed', status };
  const known = status?.problems ?? [];
  return { state: outcome.state, status, problems: known.length > 0 ? known : [outcome.problem] };
}
