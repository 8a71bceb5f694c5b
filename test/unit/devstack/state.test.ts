import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeLock } from '../../../infra/dev/lib/lock.mjs';
import { npmPackagesMatch } from '../../../infra/dev/lib/npm-packages.mjs';
import { run } from '../../../infra/dev/lib/processes.mjs';
import { pinsOf, withoutTorch } from '../../../infra/dev/lib/python.mjs';
import { junitResult, programResult, vitestResult } from '../../../infra/dev/lib/test-results.mjs';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'longhaul-state-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the set-up lock', () => {
  it('lets one in at a time', async () => {
    const file = path.join(folder, 'lock');
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const unlock = await takeLock(file);
        inside += 1;
        most = Math.max(most, inside);
        await new Promise((resolve) => setTimeout(resolve, 10));
        inside -= 1;
        await unlock();
      }),
    );
    expect(most).toBe(1);
  });

  it('is taken over from a process that is gone', async () => {
    const file = path.join(folder, 'lock');
    // Process ids end far below this on every system.
    await writeFile(file, '2147483646');
    await (
      await takeLock(file)
    )();
  });
});

describe('npm packages', () => {
  const entry = (version: string, more: object = {}) => ({
    version,
    integrity: `sha512-${version}`,
    ...more,
  });

  async function state(wanted: object, installed: object | undefined): Promise<boolean> {
    await writeFile(
      path.join(folder, 'package-lock.json'),
      JSON.stringify({ packages: { '': {}, ...wanted } }),
    );
    if (installed !== undefined) {
      await mkdir(path.join(folder, 'node_modules'), { recursive: true });
      await writeFile(
        path.join(folder, 'node_modules', '.package-lock.json'),
        JSON.stringify({ packages: installed }),
      );
    }
    return npmPackagesMatch(folder);
  }

  it.each([
    ['nothing is installed', { a: entry('1.0.0') }, undefined, false],
    ['all is installed', { a: entry('1.0.0') }, { a: entry('1.0.0') }, true],
    ['a version differs', { a: entry('1.0.1') }, { a: entry('1.0.0') }, false],
    ['a digest differs', { a: entry('1.0.0') }, { a: entry('1.0.0', { integrity: 'sha512-x' }) }, false],
    ['one is missing', { a: entry('1.0.0'), b: entry('2.0.0') }, { a: entry('1.0.0') }, false],
    ['one is left over', { a: entry('1.0.0') }, { a: entry('1.0.0'), b: entry('2.0.0') }, false],
    [
      'one for another platform is missing',
      { a: entry('1.0.0'), b: entry('2.0.0', { optional: true }) },
      { a: entry('1.0.0') },
      true,
    ],
  ])('are compared with the lock file: %s', async (_case, wanted, installed, match) => {
    expect(await state(wanted, installed)).toBe(match);
  });
});

describe('the Python lock file', () => {
  it('without PyTorch keeps everything that the CPU build needs', async () => {
    const lock = await readFile(
      new URL('../../../infra/trainer/requirements-dev.txt', import.meta.url),
      'utf8',
    );
    const names = (text: string): string[] => [...pinsOf(text.replaceAll(' \\', '')).keys()];
    const kept = names(withoutTorch(lock));
    const dropped = names(lock).filter((name) => !kept.includes(name));
    expect(dropped).toContain('torch');
    expect(dropped.filter((name) => !/^(torch|triton|nvidia-|cuda-)/.test(name))).toEqual([]);
    expect(kept).toEqual(expect.arrayContaining(['numpy', 'transformers', 'sympy', 'pytest']));
  });

  it('names no package index and no folder of the machine that made it', async () => {
    for (const name of ['requirements.txt', 'requirements-dev.txt']) {
      const lock = await readFile(new URL(`../../../infra/trainer/${name}`, import.meta.url), 'utf8');
      expect(lock).not.toMatch(/https?:|--index|--find-links|file:|\/home\/|\/root\//);
    }
  });
});

describe('results of test runners', () => {
  const report = (...statuses: readonly string[]) => {
    const assertionResults = statuses.map((status, index) => ({
      fullName: `test ${String(index)}`,
      status,
      failureMessages: status === 'failed' ? ['expected 1'] : [],
    }));
    const status = statuses.every((one) => one === 'passed') ? 'passed' : 'failed';
    return { testResults: [{ name: 'x.test.ts', status, message: '', assertionResults }] };
  };

  it('count what passed, and show what failed', () => {
    expect(vitestResult(report('passed', 'failed'))).toEqual({
      passed: 1,
      failed: 1,
      failures: ['test 1\nexpected 1'],
    });
  });

  it('count what did not run as one failure more, whatever kept it from running', () => {
    expect(vitestResult(report('failed', 'skipped', 'pending'))).toEqual({
      passed: 0,
      failed: 2,
      failures: ['test 0\nexpected 1', 'x.test.ts: 2 not run\n- test 1\n- test 2'],
    });
  });

  it('say once what a suite failed for that ran no test', () => {
    const output =
      '\u001b[31m⎯⎯\u001b[39m Failed Suites 1 ⎯⎯⎯\n\n FAIL  x.test.ts\nError: no server\n\n⎯⎯⎯⎯⎯[1/1]⎯\n';
    expect(vitestResult(report('skipped', 'skipped'), output)).toEqual({
      passed: 0,
      failed: 1,
      failures: ['x.test.ts: 2 not run\nFAIL  x.test.ts\nError: no server\n- test 0\n- test 1'],
    });
  });

  it('count a file that could not be loaded', () => {
    const broken = { name: 'x.test.ts', status: 'failed', message: 'no such module', assertionResults: [] };
    expect(vitestResult({ testResults: [broken] }).failures).toEqual(['x.test.ts\nno such module']);
  });

  it.each([
    ['no report', vitestResult(undefined)],
    ['an empty report', vitestResult({ testResults: [] })],
    ['no pytest report', junitResult(undefined)],
    ['an empty pytest report', junitResult('<testsuites><testsuite tests="0"></testsuite></testsuites>')],
    ['a program that counted nothing', programResult({ code: 0, output: '0 passed, 0 failed' })],
  ])('of a runner that ran nothing are a failure: %s', (_case, result) => {
    expect(result).toMatchObject({ passed: 0, failed: 1 });
  });

  it('of pytest are read from its report', () => {
    const xml =
      '<testsuite><testcase classname="t" name="a" time="0"/><testcase classname="t" name="b">' +
      '<failure message="1 &lt; 2&#10;no">…</failure></testcase></testsuite>';
    expect(junitResult(xml)).toEqual({ passed: 1, failed: 1, failures: ['t.b\n1 < 2\nno'] });
  });

  it('of a program without counts are one', () => {
    expect(programResult({ code: 0, output: '' })).toEqual({ passed: 1, failed: 0, failures: [] });
    expect(programResult({ code: 2, output: 'bad' })).toEqual({ passed: 0, failed: 1, failures: ['bad'] });
  });
});

describe('a check', () => {
  const printing = (everyMs: number, times: number) =>
    `let left = ${String(times)}; const timer = setInterval(() => { console.log(left); if (--left === 0) clearInterval(timer); }, ${String(everyMs)});`;

  it('may take as long as it likes while it prints now and then', async () => {
    const { code } = await run(process.execPath, ['-e', printing(500, 20)], { silenceMs: 8000 });
    expect(code).toBe(0);
  });

  it('is ended when it prints nothing for too long', async () => {
    const { code } = await run(process.execPath, ['-e', printing(600_000, 1)], { silenceMs: 500 });
    expect(code).toBe(124);
  });
});
