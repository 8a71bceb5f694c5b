import { Context } from '@temporalio/activity';
import { Client, Connection } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, expect, it, vi } from 'vitest';
import { CutRunSweep } from '../../../activities/janitor/cut-runs.js';
import { ObjectStore } from '../../../src/store/index.js';

const NOW = Date.parse('2026-06-15T12:00:00.000Z');
const DAY_MS = 24 * 3600 * 1000;

afterEach(() => void vi.restoreAllMocks());

/** A listing of no run. */
const none = () => ({
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true as const, value: undefined }) }),
});

it.each([-30, 0, 30])(
  'cut runs are looked for by Temporal’s clock, with a worker’s %i days off',
  async (days) => {
    vi.spyOn(Date, 'now').mockReturnValue(NOW + days * DAY_MS);
    const client = new Client({ connection: Connection.lazy() });
    const list = vi.spyOn(client.workflow, 'list').mockReturnValue({ ...none(), intoHistories: none });
    const environment = new MockActivityEnvironment({ currentAttemptScheduledTimestampMs: NOW }, { client });
    const store = ObjectStore.connect({ region: 'none' });
    await environment.run(() => new CutRunSweep(Context.current(), store, new Set()).run(new Set()));
    expect(list).toHaveBeenCalledExactlyOnceWith({
      query: expect.stringContaining("CloseTime > '2026-06-08T12:00:00.000Z'") as string,
    });
  },
);
