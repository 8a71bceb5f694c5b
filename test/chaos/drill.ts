/** The drill that users run, as they run it. */
import { execa } from 'execa';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { drillReportSchema } from '../../src/drill/report.js';
import { rootLayout, runLayout } from '../../src/contracts/layout.js';
import { TEST_MS } from '../support/patience.js';
import type { ChaosStack } from './support/chaos-stack.js';
import { CHAOS_RECIPE } from './support/recipe.js';

const LIMIT = { timeout: TEST_MS };
const CLI = fileURLToPath(new URL('../../bin/longhaul.mjs', import.meta.url));

/** Runs `longhaul drill` on a recipe, in the environment of the stack. */
async function drill(recipe: unknown, ...options: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'longhaul-drill-'));
  try {
    const file = join(folder, 'recipe.json');
    await writeFile(file, JSON.stringify(recipe));
    return await execa(process.execPath, [CLI, 'drill', file, ...options], { reject: false, all: true });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Scenarios; they disturb nobody but their own runs. */
export function drillScenarios(stack: () => ChaosStack, seed: number): void {
  describe('longhaul drill', () => {
    it(
      'passes a recipe that is preempted, killed and frozen, and leaves its report with the run',
      LIMIT,
      async () => {
        const options = ['--name', 'drill', '--faults', '3', '--seed', String(seed)];
        const { exitCode, all } = await drill(CHAOS_RECIPE, ...options, '--kinds', 'preempt,kill,freeze');
        expect(all).toContain(`PASSED  seed ${seed}`);
        expect(exitCode).toBe(0);
        const { config, store } = stack().live;
        const { drill: url } = runLayout(rootLayout(config.s3.rootUrl).run('drill-disturbed'));
        const { value } = await store.getJson(url, drillReportSchema);
        expect(value).toMatchObject({ passed: true, seed });
        expect(value.faults.length).toBeGreaterThan(0);
      },
    );

    it('refuses what it could say nothing about, before anything is started', LIMIT, async () => {
      const lax = await drill({ ...CHAOS_RECIPE, runtime: { strict: false } });
      expect([lax.exitCode, lax.all]).toEqual([1, expect.stringContaining('runtime.strict')]);
      const kinds = await drill(CHAOS_RECIPE, '--kinds', 'earthquake');
      expect([kinds.exitCode, kinds.all]).toEqual([
        1,
        expect.stringContaining('there is no fault "earthquake"'),
      ]);
    });
  });
}
