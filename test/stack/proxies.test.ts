import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { loopbackWithoutProxy } from '../../src/domain/lib/loopback.js';
import { CHAOS_RECIPE } from '../chaos/support/recipe.js';
import { LiveStack } from '../support/live-stack.js';
import { RUNS_MS } from '../support/patience.js';

/** As a company's machine has them; nobody answers there. */
const PROXIES = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'http_proxy',
  'https_proxy',
  'all_proxy',
  'grpc_proxy',
];
const PROXY = 'http://127.0.0.1:1';

let live: LiveStack;

beforeAll(async () => {
  for (const name of PROXIES) vi.stubEnv(name, PROXY);
  for (const name of ['NO_PROXY', 'no_proxy']) vi.stubEnv(name, '');
  live = await LiveStack.start();
});
afterAll(async () => {
  await live.stop();
  vi.unstubAllEnvs();
});

describe('where a proxy is set for everything', () => {
  it('servers, worker and trainer reach one another without it', { timeout: RUNS_MS }, async () => {
    live.worker({ NO_PROXY: '', no_proxy: '' });
    const options = { workflowId: 'behind-a-proxy', taskQueue: TASK_QUEUE, args: [CHAOS_RECIPE] };
    const result: unknown = await live.client.workflow.execute(WORKFLOWS.recipe.name, options);
    expect(result).toMatchObject({ models: {} });
  });
});

describe('what is named as reached without a proxy', () => {
  it.each([
    [{}, '127.0.0.1,localhost,::1'],
    [{ NO_PROXY: 'a.example, .b.example' }, 'a.example,.b.example,127.0.0.1,localhost,::1'],
    [{ NO_PROXY: 'a', no_proxy: 'b,localhost' }, 'a,b,localhost,127.0.0.1,::1'],
  ])('stays, and this machine comes to it: %j', (environment, expected) => {
    expect(loopbackWithoutProxy(environment)).toEqual({ NO_PROXY: expected, no_proxy: expected });
  });

  it('is what gRPC asks, too', () => {
    expect(loopbackWithoutProxy({ no_grpc_proxy: 'c' })['no_grpc_proxy']).toBe('c,127.0.0.1,localhost,::1');
  });
});
