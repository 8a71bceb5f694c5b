/** What happens to the store, as workers and trainers see it: errors, broken connections, silence, and delay. */
import { execa } from 'execa';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { storeAnswer } from '../support/faulty-proxy.js';
import type { Fault, SeenRequest } from '../support/faulty-proxy.js';
import { TEST_MS } from '../support/patience.js';
import type { ChaosRun } from './support/chaos-run.js';
import type { ChaosStack } from './support/chaos-stack.js';
import { CHAOS_RECIPE } from './support/recipe.js';

const LIMIT = { timeout: TEST_MS };
/** How long the trouble lasts: the dozen steps would all be done in half of it. */
const TROUBLE_MS = 4000;

const TROUBLES: Readonly<Record<string, () => Fault>> = {
  'answers 500 and 503': alternating([500, 503]),
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

      it(
        'the store says that its disk is full, and `longhaul status` says so while it lasts',
        LIMIT,
        async () => {
          // Its worker renews the lease every third of that: what a store takes no more is noticed by it.
          const execution = { ...CHAOS_RECIPE.execution, leaseSeconds: 10 };
          const run = await stack().run('full', { execution });
          // It gets no further before everybody knows of its first checkpoints.
          const release = run.holdAfter(3);
          await run.job();
          await shown(run, 'newest checkpoint: step \\d+');
          const full = (refuses: (request: SeenRequest) => boolean): (() => void) =>
            stack().disturbStore((request) =>
              request.path.includes(`/runs/${run.name}/`) && isWrite(request) && refuses(request)
                ? storeAnswer(507, 'InsufficientStorage')
                : 'pass',
            );
          // No event gets through: the worker speaks for the job.
          const endless = full(() => true);
          release();
          const nothing = await shown(run, 'the worker waits for the store since');
          expect(nothing).toMatch(/^ +newest checkpoint: step \d+, .*(ago|just now)/m);
          // As at a quota: what is small gets through, and the job speaks for itself.
          const checkpoints = full(({ path }) => path.includes('/checkpoints/'));
          endless();
          const little = await shown(run, 'checkpoint of step \\d+ waits for the store since');
          expect(little).toMatch(/^ +newest checkpoint: step \d+, .* ago, \d+ steps? behind$/m);
          for (const text of [nothing, little]) {
            const line = text.replace(/\n {4}/g, ' ');
            expect(line).toMatch(
              / UTC: the store answered 507 InsufficientStorage\. What can be done: .* make room/,
            );
            expect(
              Math.max(
                ...text
                  .split('\n')
                  .slice(2)
                  .map(({ length }) => length),
              ),
            ).toBeLessThanOrEqual(100);
          }
          checkpoints();
          await run.completed();
          expect((await run.status()).stages.filter(({ warning }) => Boolean(warning))).toEqual([]);
          expect(await run.epochs()).toEqual([1]);
          expect(await run.flaws()).toEqual([]);
        },
      );
    },
  );
}

const CLI = fileURLToPath(new URL('../../bin/longhaul.mjs', import.meta.url));

/** What `longhaul status` prints of a run, once it says this. */
function shown(run: ChaosRun, said: string): Promise<string> {
  return run.until(`\`longhaul status\` to say: ${said}`, async () => {
    const { stdout } = await execa(process.execPath, [CLI, 'status', run.name]);
    return new RegExp(said.replaceAll(' ', '\\s+')).test(stdout) ? stdout : null;
  });
}

/** What a full disk refuses. */
function isWrite({ method }: SeenRequest): boolean {
  return method === 'PUT' || method === 'POST';
}

function alternating(faults: readonly [Fault, Fault]): () => Fault {
  let next = 0;
  return () => {
    next = 1 - next;
    return faults[next] ?? 'pass';
  };
}
