// @ts-check
/**
 * `npm test`: every check there is, after the same set-up as `npm start`. Closes with the line `N passed, N failed`.
 * `npm test -- --only unit --only types` runs some of them.
 */
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readJson, readText } from './lib/files.mjs';
import { MARK, newMark, processesWithMark } from './lib/leftovers.mjs';
import { run, which } from './lib/processes.mjs';
import { bold, dim, formatSeconds, green, red } from './lib/terminal.mjs';
import { junitResult, programResult, vitestResult } from './lib/test-results.mjs';
import { ROOT, SetUpError, STATE_DIR, setUp } from './setup.mjs';

/** @typedef {import('./lib/test-results.mjs').Result} Result */

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {() => Promise<Result>} perform
 */

/**
 * A check that has printed nothing for so long hangs. Its whole time says nothing: a busy machine takes many times as long as an
 * idle one, but even there a test ends now and then, the longest after `RUNS_MS` of test/support/patience.ts.
 */
const SILENCE_MS = 45 * 60 * 1000;

/** Folders of tests in the order in which they run, the quick ones first; others follow by name. */
const FOLDERS = ['unit', 'store', 'stack', 'workflows', 'replay', 'bundle', 'e2e', 'chaos', 'ui'];

/** Checks at the same time. Each waits for servers, processes and clocks for about half of its time. */
const AT_A_TIME = 2;

const RESULTS_DIR = path.join(STATE_DIR, 'logs', 'test');

/** Names that a Chromium goes by. */
const CHROMIUM_NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];

/**
 * Checks that read the sources only.
 *
 * @param {string} python
 * @returns {Check[]}
 */
function staticChecks(python) {
  const bin = (/** @type {string} */ name) => path.join(ROOT, 'node_modules', '.bin', name);
  const trainer = path.join(ROOT, 'infra', 'trainer');
  return [
    programCheck('types', bin('tsc'), ['--noEmit']),
    programCheck('lint', bin('eslint'), ['.']),
    programCheck('format', bin('prettier'), ['--check', '--log-level', 'warn', '.']),
    programCheck('layers', process.execPath, ['test/layers/check.mjs']),
    programCheck('python-lint', python, [
      ...['-m', 'ruff', 'check', '--quiet', '--output-format=concise', '--no-cache'],
      trainer,
    ]),
    programCheck('python-format', python, [
      '-m',
      'ruff',
      'format',
      '--check',
      '--quiet',
      '--no-cache',
      trainer,
    ]),
    programCheck('python-types', python, [
      '-m',
      'mypy',
      '--config-file',
      path.join(trainer, 'pyproject.toml'),
    ]),
  ];
}

/**
 * @param {string} name
 * @param {string} file
 * @param {readonly string[]} args
 * @returns {Check}
 */
function programCheck(name, file, args) {
  return {
    name,
    perform: async () => programResult(await run(file, args, { cwd: ROOT, silenceMs: SILENCE_MS })),
  };
}

/**
 * Checks that run the code; the longest that can't be cut first.
 *
 * @param {string} python
 * @param {NodeJS.ProcessEnv} env
 * @returns {Check[]}
 */
function testChecks(python, env) {
  const found = readdirSync(path.join(ROOT, 'test'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && hasTests(path.join(ROOT, 'test', entry.name)))
    .map((entry) => entry.name)
    .sort((a, b) => rankOf(a) - rankOf(b) || a.localeCompare(b));
  return [pytestCheck(python, env), ...found.map((folder) => vitestCheck(folder, env))];
}

/** @param {string} folder */
function hasTests(folder) {
  return readdirSync(folder, { recursive: true }).some((name) => String(name).endsWith('.test.ts'));
}

/** @param {string} folder */
function rankOf(folder) {
  const index = FOLDERS.indexOf(folder);
  return index === -1 ? FOLDERS.length : index;
}

/**
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} env
 * @returns {Check}
 */
function vitestCheck(folder, env) {
  const report = path.join(RESULTS_DIR, `${folder}.json`);
  const vitest = path.join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  return {
    name: folder,
    perform: async () => {
      await rm(report, { force: true });
      const { code, output } = await run(
        process.execPath,
        [
          ...[vitest, 'run', `test/${folder}/`, '--reporter=verbose'],
          ...['--reporter=json', `--outputFile.json=${report}`],
        ],
        { cwd: ROOT, env, silenceMs: SILENCE_MS, logFile: path.join(RESULTS_DIR, `${folder}.log`) },
      );
      return withExitCode(vitestResult(await readJson(report), output), code, output);
    },
  };
}

/**
 * @param {string} python
 * @param {NodeJS.ProcessEnv} env
 * @returns {Check}
 */
function pytestCheck(python, env) {
  const report = path.join(RESULTS_DIR, 'trainer.xml');
  return {
    name: 'trainer',
    perform: async () => {
      await rm(report, { force: true });
      const { code, output } = await run(
        python,
        ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', `--junitxml=${report}`],
        {
          cwd: path.join(ROOT, 'infra', 'trainer'),
          env,
          silenceMs: SILENCE_MS,
          logFile: path.join(RESULTS_DIR, 'trainer.log'),
        },
      );
      return withExitCode(junitResult(await readText(report)), code, output);
    },
  };
}

/**
 * A runner that says all is well and ends with another code than 0 is not believed.
 *
 * @param {Result} result
 * @param {number} code
 * @param {string} output
 * @returns {Result}
 */
function withExitCode(result, code, output) {
  if (code === 0 || result.failed > 0) return result;
  const why = code === 124 ? `printed nothing for ${SILENCE_MS / 60_000} minutes` : `exit code ${code}`;
  return {
    ...result,
    failed: 1,
    failures: [`${why}\n${output.trimEnd().split('\n').slice(-20).join('\n')}`],
  };
}

/**
 * Performs checks, so many at a time, and prints a line for each as it ends.
 *
 * @param {readonly Check[]} checks
 * @param {number} atATime
 */
async function performAll(checks, atATime) {
  const queue = [...checks];
  const totals = { passed: 0, failed: 0 };
  const lane = async () => {
    for (let check = queue.shift(); check !== undefined; check = queue.shift()) {
      const since = performance.now();
      const result = await check.perform();
      totals.passed += result.passed;
      totals.failed += result.failed;
      printResult(check.name, result, (performance.now() - since) / 1000);
    }
  };
  await Promise.all(Array.from({ length: atATime }, lane));
  return totals;
}

/**
 * @param {string} name
 * @param {Result} result
 * @param {number} seconds
 */
function printResult(name, { passed, failed, failures }, seconds) {
  const counts = failed === 0 ? `${passed} passed` : `${passed} passed, ${failed} failed`;
  const mark = failed === 0 ? green('✓') : red('✗');
  console.log(`  ${mark} ${name.padEnd(14)} ${counts.padEnd(24)} ${dim(formatSeconds(seconds))}`);
  for (const failure of failures) console.log(`      ${shortened(failure).replaceAll('\n', '\n      ')}\n`);
}

const FAILURE_LINES = 30;

/** @param {string} text */
function shortened(text) {
  const lines = text.split('\n');
  if (lines.length <= FAILURE_LINES) return text;
  return [...lines.slice(0, FAILURE_LINES), `… and ${lines.length - FAILURE_LINES} lines more`].join('\n');
}

/**
 * Environment of the tests: the trainer's Python, a browser if there is one, and the mark that finds what they leave.
 *
 * @param {string} python
 * @param {string} mark
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
async function testEnvironment(python, mark) {
  const env = { ...process.env };
  for (const name of Object.keys(env)) if (/^(LONGHAUL|TEMPORAL|AWS)_/.test(name)) delete env[name];
  let chromium = process.env['LONGHAUL_CHROMIUM'] ?? '';
  for (const name of CHROMIUM_NAMES) if (chromium === '') chromium = (await which(name)) ?? '';
  if (chromium === '') {
    console.log(
      red('  No Chromium was found; the browser tests will fail. ') +
        'Get one (Debian: apt install chromium) or name one with LONGHAUL_CHROMIUM.',
    );
  }
  return {
    ...env,
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    LONGHAUL_TRAINER_PYTHON: python,
    ...(chromium === '' ? {} : { LONGHAUL_CHROMIUM: chromium }),
    [MARK]: mark,
  };
}

/**
 * Ends what tests left running, and says so as a failed check.
 *
 * @param {string} mark
 * @returns {Promise<Result>}
 */
async function leftoverResult(mark) {
  await sleep(500);
  const left = processesWithMark(mark);
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself just now.
    }
  }
  const failures = left.map(({ pid, command }) => `left running: ${pid} ${command}`);
  return { passed: left.length === 0 ? 1 : 0, failed: left.length, failures };
}

/** @param {readonly string[]} only */
async function testEverything(only) {
  const { python } = await setUp();
  await mkdir(RESULTS_DIR, { recursive: true });
  const mark = newMark();
  console.log(bold('\nChecks'));
  const env = await testEnvironment(python, mark);
  const chosen = (/** @type {Check[]} */ checks) =>
    checks.filter(({ name }) => only.length === 0 || only.includes(name));
  const [statics, tests] = [staticChecks(python), testChecks(python, env)];
  const unknown = only.filter((name) => ![...statics, ...tests].some((check) => check.name === name));
  if (unknown.length > 0) {
    throw new SetUpError(
      `there is no check ${unknown.join(', ')}; there are ${[...statics, ...tests].map(({ name }) => name).join(', ')}`,
    );
  }
  const totals = [await performAll(chosen(statics), AT_A_TIME), await performAll(chosen(tests), AT_A_TIME)];
  if (chosen(tests).length > 0) {
    totals.push(await performAll([{ name: 'leftovers', perform: () => leftoverResult(mark) }], 1));
  }
  return {
    passed: totals.reduce((sum, { passed }) => sum + passed, 0),
    failed: totals.reduce((sum, { failed }) => sum + failed, 0),
  };
}

/** The checks asked for by `--only NAME`, which may be given several times; none: all. */
function readOnly() {
  try {
    return parseArgs({ options: { only: { type: 'string', multiple: true, default: [] } } }).values.only;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SetUpError(`${message}\nnpm test takes --only NAME, once for each check that is to run`);
  }
}

const since = performance.now();
try {
  const only = readOnly();
  if (!existsSync(path.join(ROOT, 'test'))) throw new SetUpError('there are no tests here');
  const { passed, failed } = await testEverything(only);
  console.log(dim(`\n${formatSeconds((performance.now() - since) / 1000)}`));
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  if (!(error instanceof SetUpError)) throw error;
  console.error(`\n${red('The tests could not be run.')}\n${error.message}\n0 passed, 1 failed`);
  process.exitCode = 1;
}
