import { execa } from 'execa';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const LONGHAUL = fileURLToPath(new URL('../../../bin/longhaul.mjs', import.meta.url));

/** The command line as a user runs it, where no server is needed. */
const longhaul = (...args: string[]) => execa(process.execPath, [LONGHAUL, ...args], { reject: false });

describe('a recipe that can’t be read is refused in one sentence', () => {
  it('where there is no such file', async () => {
    const { exitCode, stderr } = await longhaul('plan', 'nowhere.json');
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: 'There is no file nowhere.json.' });
  });

  it('where the file holds no JSON', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'longhaul-recipe-'));
    try {
      const file = join(folder, 'recipe.json');
      await writeFile(file, '{ "preset": ');
      const { exitCode, stderr } = await longhaul('plan', file);
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(/^.*recipe\.json is not valid JSON: [^\n]+$/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('an option that takes one of a few words', () => {
  it('names them when it gets another', async () => {
    const given = ['--class', 'hangs', '--relaunches', '1', '--reason', 'a test'];
    const { exitCode, stderr } = await longhaul('budget', 'a-run', ...given);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/'hangs' is invalid\. Allowed choices are preempted, .*hang/);
  });
});

describe('output into a pipe that nobody reads to the end', () => {
  it('ends without an error', async () => {
    const running = longhaul('plan', '--preset', 'tiny');
    running.stdout.destroy();
    const { exitCode, stderr } = await running;
    expect({ exitCode, stderr }).toEqual({ exitCode: 141, stderr: '' });
  });
});
