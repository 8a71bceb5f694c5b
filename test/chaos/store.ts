/** What happens to the store, as workers and trainers see it: errors, broken connections, silence, and delay. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Fault } from '../support/faulty-proxy.js';
import { TEST_MS } from '../support/patience.js';
import type { ChaosStack } from './support/chaos-stack.js';

const LIMIT = { timeout: TEST_MS };
/** How long the trouble lasts: the dozen steps would all be done in half of it. */
const TROUBLE_MS = 4000;

const TROUBLES: Readonly<Record<string, () => Fault>> = {
  'answers 500 and 503': alternating([500, 503]),
  'says that its disk is full': () => 507,
  'breaks every connection': () => 'reset',
  'does not answer at all': () => 'hang',
  'answers a second late': () => 'slow',
};

/** Scenarios; each disturbs only requests about its own run. */
export function storeScenarios(stack: () => ChaosStack): void {
  describe.concurrent(
    'an outage of the store is ridden out: the job trains on, and commits when it is over',
    () => {
      for (const [what, fault] of Object.entries(TROUBLES)) {
        it(`the store ${what}`, LIMIT, async () => {
          const run = await stack().run('outage');
          await run.job();
          await run.committed(2);
          const calm = stack().disturbStore(({ path }) =>
            path.includes(`/runs/${run.name}/`) ? fault() : 'pass',
          );
          await sleep(TROUBLE_MS);
          calm();
          await run.completed();
          expect(await run.epochs()).toEqual([1]);
          expect(await run.flaws()).toEqual([]);
        });
      }
    },
  );
}

function alternating(faults: readonly [Fault, Fault]): () => Fault {
  let next = 0;
  return () => {
    next = 1 - next;
    return faults[next] ?? 'pass';
  };
}
