/** What happens to trainers: they are told to stop, killed, frozen, cut off, and their checkpoints damaged. */
import { describe, expect, it } from 'vitest';
import { uniform } from '../../src/drill/schedule.js';
import type { SeenRequest } from '../support/faulty-proxy.js';
import { TEST_MS } from '../support/patience.js';
import type { ChaosRun } from './support/chaos-run.js';
import type { ChaosStack } from './support/chaos-stack.js';
import { trainerOf } from './support/processes.js';
import { CHAOS_RECIPE } from './support/recipe.js';

const LIMIT = { timeout: TEST_MS };

/** Scenarios; they disturb nobody but their own run, so they run beside one another. */
export function trainerScenarios(stack: () => ChaosStack, seed: number): void {
  describe.concurrent('a trainer that is taken away costs time and nothing else', () => {
    it('SIGTERM with grace: it saves, and the next attempt goes on at the very step', LIMIT, async () => {
      const run = await stack().run('sigterm');
      const job = await run.job();
      await run.committed(2);
      await stack().backend.terminate(job.name, 10);
      const stopped = await run.outcome(job.epoch);
      expect(stopped).toMatchObject({ result: 'ended', class: 'preempted' });
      const head = await run.head();
      expect(head.commit?.step).toBe(stopped.step);
      await run.completed();
      expect(await run.epochs()).toHaveLength(2);
      expect(await run.flaws()).toEqual([]);
    });

    it('SIGKILL of everything, at random moments', LIMIT, async () => {
      const run = await stack().run('sigkill');
      let epoch = 0;
      for (const kill of [1, 2]) {
        const job = await run.job(epoch);
        const from = (await run.head()).commit?.step ?? 0;
        await run.committed(from + 1 + Math.floor(3 * uniform(`${seed} sigkill ${kill}`)));
        await stack().backend.signal(job.name, 'SIGKILL');
        epoch = job.epoch;
      }
      await run.completed();
      expect(await run.epochs()).toEqual([1, 2, 3]);
      expect(await run.flaws()).toEqual([]);
    });

    it('SIGKILL of the process that computes: its wrapper accounts for it', LIMIT, async () => {
      const run = await stack().run('sigkill-worker');
      const { epoch } = await run.job();
      await run.committed(2);
      const trainer = trainerOf(run.runUrl);
      if (trainer === undefined) throw new Error('no trainer runs');
      process.kill(trainer.pid, 'SIGKILL');
      expect(await run.outcome(epoch)).toMatchObject({ result: 'ended', class: 'unknown' });
      await run.completed();
      expect(await run.flaws()).toEqual([]);
    });

    it('SIGKILL inside a save: the files that were on their way count for nothing', LIMIT, async () => {
      const run = await stack().run('kill-in-save');
      const lost = await killAt(stack(), run, {
        ...WRITE,
        matches: (path) => path.endsWith('/moments.safetensors'),
      });
      await run.completed();
      expect(await lineOf(run)).not.toContain(lost);
      expect(await run.flaws()).toEqual([]);
    });

    it(
      'SIGKILL between manifest and HEAD: a checkpoint that is all there but not committed',
      LIMIT,
      async () => {
        const run = await stack().run('kill-before-head');
        const lost = await killAt(stack(), run, WRITE);
        await run.completed();
        expect(await lineOf(run)).not.toContain(lost);
        expect(await run.flaws()).toEqual([]);
      },
    );

    it(
      'SIGKILL just after HEAD moved, before the trainer tells of it, again and again: the commits stand and count',
      LIMIT,
      async () => {
        const run = await stack().run('kill-after-head');
        const kept: string[] = [];
        for (let kill = 0; kill < 3; kill += 1) {
          kept.push(await killAt(stack(), run, { ...WRITE, nth: 1, fault: 'lose-answer', silent: true }));
        }
        await run.completed();
        expect(await lineOf(run)).toEqual(expect.arrayContaining(kept));
        expect(await run.flaws()).toEqual([]);
      },
    );
  });

  describe.concurrent('a trainer that comes back publishes nothing', () => {
    it(
      'a paused machine: its successor has started when it goes on, and it ends as fenced',
      LIMIT,
      async () => {
        const run = await stack().run('zombie');
        const zombie = await run.job();
        await run.committed(2);
        await stack().backend.signal(zombie.name, 'SIGSTOP');
        const group = trainerOf(run.runUrl)?.group;
        if (group === undefined) throw new Error('no trainer runs');
        await run.loseSightOf(zombie);
        const successor = await run.job(zombie.epoch);
        process.kill(-group, 'SIGCONT');
        expect(await run.outcome(zombie.epoch)).toMatchObject({ result: 'ended', class: 'fenced' });
        await run.completed();
        expect(successor.epoch).toBe(zombie.epoch + 1);
        expect(await run.flaws()).toEqual([]);
      },
    );

    it('a job that stands still for good: the watchdog replaces it', LIMIT, async () => {
      const watchdog = { floorSeconds: { step: 6 } };
      const execution = { ...CHAOS_RECIPE.execution, graceSeconds: 1, watchdog };
      const run = await stack().run('hang', { execution });
      const job = await run.job();
      await run.committed(2);
      await stack().backend.signal(job.name, 'SIGSTOP');
      await run.completed();
      expect(await run.endings()).toEqual(['hang', 'done']);
      expect(await run.flaws()).toEqual([]);
    });

    it('a short freeze costs its own length: the same attempt goes on', LIMIT, async () => {
      const run = await stack().run('freeze');
      const job = await run.job();
      await run.committed(2);
      await stack().backend.signal(job.name, 'SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await stack().backend.signal(job.name, 'SIGCONT');
      await run.completed();
      expect(await run.epochs()).toEqual([1]);
      expect(await run.flaws()).toEqual([]);
    });
  });
}

/** The write at which a trainer is killed. */
interface FatalWrite {
  readonly matches: (path: string) => boolean;
  /** Which of them: those before it go through. */
  readonly nth: number;
  /** `hang`: the write does not get through; `lose-answer`: it does, and the trainer can't find out. */
  readonly fault: 'hang' | 'lose-answer';
  /** Whether the attempt's events after the first get through. */
  readonly silent: boolean;
}

/** Kills the run's job at a write to its checkpoints or `HEAD`. Returns the checkpoint concerned. */
async function killAt(stack: ChaosStack, run: ChaosRun, write: FatalWrite): Promise<string> {
  let checkpoint: string | undefined;
  let seen = 0;
  let strike: () => void = () => undefined;
  const struck = new Promise<void>((resolve) => (strike = resolve));
  const calm = stack.disturbStore(({ method, path }: SeenRequest) => {
    if (!path.includes(`/runs/${run.name}/stages/`)) return 'pass';
    if (write.silent && path.includes('/events/') && !path.endsWith('/000001.json')) return 503;
    if (seen === write.nth) return path.endsWith('/HEAD') ? 503 : 'pass';
    if (method !== 'PUT') return 'pass';
    checkpoint = /\/checkpoints\/([^/]+)\//.exec(path)?.[1] ?? checkpoint;
    // Before any checkpoint, HEAD is moved by the claim.
    if (checkpoint === undefined || !write.matches(path)) return 'pass';
    seen += 1;
    if (seen < write.nth) return 'pass';
    strike();
    return write.fault;
  });
  await struck;
  if (checkpoint === undefined) throw new Error('no checkpoint was written');
  const wanted = checkpoint;
  if (write.fault === 'lose-answer') {
    await run.until(`commit ${wanted}`, async () => ((await run.head()).commit?.id === wanted ? true : null));
  }
  const { name } = await run.job();
  await stack.backend.signal(name, 'SIGKILL');
  await run.until('the end of its job', async () =>
    (await stack.backend.observe(name)).state === 'ended' ? true : null,
  );
  calm();
  return checkpoint;
}

/** `HEAD`'s third move to a checkpoint does not get through. */
const WRITE: FatalWrite = {
  matches: (path) => path.endsWith('/HEAD'),
  nth: 3,
  fault: 'hang',
  silent: false,
};

/** Ids of the commits that led to the stage's end. */
async function lineOf(run: ChaosRun): Promise<string[]> {
  const { commit, ancestors } = await run.head();
  return [...(commit === null ? [] : [commit]), ...ancestors].map(({ id }) => id);
}
