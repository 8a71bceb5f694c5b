import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listeningPorts } from '../../infra/dev/stack/ports.js';
import { runningServers } from '../../infra/dev/stack/running.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { LiveStack } from '../support/live-stack.js';

let live: LiveStack;
beforeAll(async () => {
  live = await LiveStack.start();
});
afterAll(() => live.stop());

/** A request that a browser sends for any page without asking the server first: a form's content type, no header of its own. */
async function postAsPage(port: number, run: string): Promise<number> {
  try {
    const response = await fetch(
      `http://127.0.0.1:${String(port)}/api/v1/namespaces/default/workflows/${run}`,
      {
        method: 'POST',
        headers: { 'content-type': 'text/plain', origin: 'https://page.example' },
        body: JSON.stringify({
          workflowType: { name: WORKFLOWS.recipe.name },
          taskQueue: { name: TASK_QUEUE },
        }),
      },
    );
    return response.status;
  } catch {
    // A port of another protocol.
    return 0;
  }
}

describe('a web page that posts to this machine', () => {
  it('starts no run, at whatever port of the servers', async () => {
    const { temporal, s3 } = await runningServers(await realpath(join(live.folder, 'data')));
    const pids = [...temporal, ...s3].map(({ entry }) => entry.pid);
    const ports = (await Promise.all(pids.map(listeningPorts))).flatMap((found) => [...found]);
    // Frontend, its HTTP API, UI and metrics, two services, and the store.
    expect(ports.length).toBeGreaterThanOrEqual(7);
    const answers = await Promise.all(ports.map((port) => postAsPage(port, `from-a-page-${String(port)}`)));
    expect(answers.filter((status) => status >= 200 && status < 300)).toEqual([]);
    // The HTTP API is there, and refuses.
    expect(answers).toContain(403);
    const found: string[] = [];
    for await (const { workflowId } of live.client.workflow.list({
      query: `WorkflowType = '${WORKFLOWS.recipe.name}'`,
    }))
      found.push(workflowId);
    expect(found).toEqual([]);
  });
});
