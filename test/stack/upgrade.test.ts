/** A folder whose database an earlier server has made goes on under the server of today. */
import { Client, Connection } from '@temporalio/client';
import { execa } from 'execa';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findPython } from '../../infra/dev/lib/python.mjs';
import { startStack } from '../../infra/dev/stack.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-upgrade-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs with a client of the stack of the folder, which is stopped then. */
async function onStack(body: (client: Client) => Promise<void>): Promise<void> {
  const stack = await startStack({ dataDir: folder, ports: { temporal: 0, ui: 0, s3: 0 } });
  try {
    const connection = await Connection.connect({ address: stack.temporalAddress });
    try {
      await body(new Client({ connection, namespace: stack.namespace }));
    } finally {
      await connection.close();
    }
  } finally {
    await stack.stop();
  }
}

/** Makes the database what a server of 1.29 leaves, as far as that matters, and forgets who has made it. */
async function makeOlder(): Promise<void> {
  const found = await findPython(process.env);
  if ('problem' in found) throw new Error(found.problem);
  const script = [
    'import sqlite3, sys',
    'with sqlite3.connect(sys.argv[1]) as database:',
    "    database.execute('DROP TABLE current_chasm_executions')",
  ].join('\n');
  await execa(found.python.file, ['-c', script, join(folder, 'temporal.db')]);
  await rm(join(folder, 'temporal.db-tables'));
}

describe('a database of an earlier server', () => {
  it('keeps its runs and its schedules', async () => {
    const recipe = { taskQueue: TASK_QUEUE, args: [{}] };
    await onStack(async (client) => {
      await client.workflow.start(WORKFLOWS.recipe.name, { ...recipe, workflowId: 'old' });
      await client.schedule.create({
        scheduleId: 'sweep',
        spec: { intervals: [{ every: '1h' }] },
        action: { type: 'startWorkflow', workflowType: WORKFLOWS.recipe.name, ...recipe },
      });
    });
    await makeOlder();
    await onStack(async (client) => {
      expect((await client.workflow.getHandle('old').describe()).status.name).toBe('RUNNING');
      const sweep = client.schedule.getHandle('sweep');
      await sweep.pause();
      expect((await sweep.describe()).state.paused).toBe(true);
    });
    // The next start has nothing to do.
    expect(await readFile(join(folder, 'temporal.db-tables'), 'utf8')).toBe('1.32');
  });

  it('that cannot be upgraded is told of, and left as it is', async () => {
    const database = join(folder, 'temporal.db');
    await writeFile(database, 'no database at all');
    await expect(onStack(() => Promise.resolve())).rejects.toThrow(
      /is of an earlier Temporal server, and could not be/,
    );
    expect(await readFile(database, 'utf8')).toBe('no database at all');
  });
});
