// @ts-check
/**
 * Makes everything that the project needs, into node_modules and .longhaul/. Runs before `npm install`, so it uses
 * nothing but Node's own modules. What is already there is recognised by recorded digests and not made again; what
 * an interrupted run left half made is made anew.
 */
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { takeLock } from './lib/lock.mjs';
import { installNpmPackages } from './lib/npm-packages.mjs';
import { MINIMUM, TOOLS } from './lib/pins.mjs';
import { findPython, makePythonEnvironment, trainerPython } from './lib/python.mjs';
import { bold, createReporter, formatSeconds, red } from './lib/terminal.mjs';
import { obtainTool, sweepTemporaries } from './lib/tools.mjs';
import { isAtLeast } from './lib/versions.mjs';

/** The repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Everything that set-up and runs make, but for node_modules. Ignored by git. */
export const STATE_DIR = path.join(ROOT, '.longhaul');

/** Builds of the two servers run side by side from so many cores on. */
const CORES_FOR_PARALLEL_BUILDS = 4;

/** Something that the user has to do first. The message says what. */
export class SetUpError extends Error {}

/**
 * Where things are after set-up.
 *
 * @typedef {object} SetUp
 * @property {string} binDir Folder with `temporal` and `versitygw`
 * @property {string} python Python of the trainer's environment
 */

/**
 * Checks what has to be there beforehand. Every problem is one sentence that says how to get it.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {{ node: string, platform: string }} [machine]
 */
export async function checkPrerequisites(
  env,
  machine = { node: process.versions.node, platform: process.platform },
) {
  /** @type {string[]} */
  const problems = [];
  if (machine.platform === 'win32') {
    problems.push(
      'Linux or macOS is needed. On Windows, work in WSL (https://learn.microsoft.com/windows/wsl).',
    );
  }
  if (!isAtLeast(machine.node, MINIMUM.node)) {
    problems.push(
      `Node ${MINIMUM.node} or newer is needed, this is ${machine.node}. Get it from https://nodejs.org.`,
    );
  }
  const found = await findPython(env);
  if ('problem' in found) problems.push(found.problem);
  return 'python' in found ? { problems, python: found.python } : { problems, python: undefined };
}

/**
 * Does the whole set-up.
 *
 * @param {{ env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<SetUp>}
 * @throws {SetUpError} with every missing prerequisite, or with what could not be made
 */
export async function setUp({ env = process.env } = {}) {
  const started = Date.now();
  const reporter = createReporter();
  reporter.line(bold('Set-up'));
  try {
    const { problems, python } = await checkPrerequisites(env);
    if (problems.length > 0 || python === undefined)
      throw new SetUpError(asList('Please install first', problems));
    const unlock = await takeLock(path.join(STATE_DIR, 'setup.lock'), {
      onWait: (holder) =>
        reporter.note(`waiting for the set-up that process ${holder} is doing (${STATE_DIR}/setup.lock)`),
    });
    try {
      await makeEverything(reporter, python, env);
    } finally {
      await unlock();
    }
    reporter.line(`  ready in ${formatSeconds((Date.now() - started) / 1000)}`);
    return { binDir: path.join(STATE_DIR, 'bin'), python: trainerPython(STATE_DIR, env) };
  } finally {
    reporter.close();
  }
}

/**
 * The three lanes run side by side: packages from npm, packages for Python, and the two servers.
 *
 * @param {import('./lib/terminal.mjs').Reporter} reporter
 * @param {import('./lib/python.mjs').Interpreter} python
 * @param {NodeJS.ProcessEnv} env
 */
async function makeEverything(reporter, python, env) {
  const logDir = path.join(STATE_DIR, 'logs');
  const binDir = path.join(STATE_DIR, 'bin');
  const goDir = path.join(ROOT, 'infra', 'dev', 'go');
  const note = reporter.note;
  await Promise.all([sweepTemporaries(STATE_DIR), sweepTemporaries(binDir)]);

  /** @param {import('./lib/pins.mjs').Tool} tool */
  const obtain = (tool) =>
    reporter.item(`${tool.name} ${tool.version}`, () =>
      obtainTool(tool, { binDir, goDir, logDir, searchPath: env['PATH'] ?? '', note }),
    );
  const obtainAll = async () => {
    if (availableParallelism() >= CORES_FOR_PARALLEL_BUILDS) await settle(TOOLS.map(obtain));
    else for (const tool of TOOLS) await obtain(tool);
  };
  await settle([
    reporter.item('npm packages', () => installNpmPackages({ root: ROOT, logDir, note })),
    reporter.item('Python environment', () =>
      makePythonEnvironment({
        stateDir: STATE_DIR,
        trainerDir: path.join(ROOT, 'infra', 'trainer'),
        logDir,
        env,
        python,
        note,
      }),
    ),
    obtainAll(),
  ]);
}

/**
 * Waits for all and throws all that failed as one error, so that nothing runs on behind an error message.
 *
 * @param {readonly Promise<unknown>[]} work
 */
async function settle(work) {
  const results = await Promise.allSettled(work);
  const problems = results.flatMap((result) =>
    result.status === 'rejected' ? [messageOf(result.reason)] : [],
  );
  if (problems.length > 0) throw new SetUpError(problems.join('\n\n'));
}

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * @param {string} title
 * @param {readonly string[]} lines
 */
const asList = (title, lines) => [`${title}:`, ...lines.map((line) => `  - ${line}`)].join('\n');

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    await setUp();
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    console.error(`\n${red('Set-up could not finish.')}\n${error.message}`);
    process.exitCode = 1;
  }
}
