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
import { MINIMUM, TOOLS, UV } from './lib/pins.mjs';
import { findPython, makePythonEnvironment, trainerPython } from './lib/python.mjs';
import { bold, createReporter, formatSeconds, red } from './lib/terminal.mjs';
import { obtainTool, sweepTemporaries } from './lib/tools.mjs';
import { isAtLeast } from './lib/versions.mjs';

/** The repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Everything that set-up and runs make, but for node_modules. Ignored by git. */
export const STATE_DIR = path.join(ROOT, '.longhaul');

/** From so many cores on the S3 server is built at once; with fewer the Temporal server, and so its UI, comes first. */
const CORES_FOR_BOTH_SERVERS = 4;

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
 * A set-up under way, part by part.
 *
 * @typedef {object} SetUpUnderWay
 * @property {SetUp} places Where things are, or will be
 * @property {Promise<void>} npm Resolves when the npm packages are there; never when they can't be had
 * @property {Readonly<Record<ToolName, Promise<void>>>} tools The same of each server's binary
 * @property {Promise<void>} done Resolves when everything is there. Rejects with a SetUpError: every missing prerequisite, or all
 *   that could not be made, once nothing of it runs any more
 * @property {boolean} isDone
 * @property {(text: string) => void} line Prints a line among those of the set-up
 * @property {() => Promise<void>} stop Ends what runs for it, and returns when it has ended
 */

/** @typedef {import('./lib/pins.mjs').ToolName} ToolName */

/**
 * Does the whole set-up.
 *
 * @param {{ env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<SetUp>}
 * @throws {SetUpError} with every missing prerequisite, or with what could not be made
 */
export async function setUp(options = {}) {
  const { places, done } = beginSetUp(options);
  await done;
  return places;
}

/**
 * Begins the set-up: what needs a part of it can go on when that part is there.
 *
 * @param {{ env?: NodeJS.ProcessEnv }} [options]
 * @returns {SetUpUnderWay}
 */
export function beginSetUp({ env = process.env } = {}) {
  const reporter = createReporter();
  const stop = new AbortController();
  const gates = { npm: gate(), temporal: gate(), versitygw: gate() };
  const done = setUpLocked({ reporter, env, signal: stop.signal, gates });
  done.catch(() => {});
  let isDone = false;
  done.then(
    () => (isDone = true),
    () => {},
  );
  return {
    places: { binDir: path.join(STATE_DIR, 'bin'), python: trainerPython(STATE_DIR, env) },
    npm: gates.npm.opened,
    tools: { temporal: gates.temporal.opened, versitygw: gates.versitygw.opened },
    done,
    get isDone() {
      return isDone;
    },
    line: reporter.line,
    stop: async () => {
      stop.abort();
      await done.catch(() => {});
    },
  };
}

/**
 * A set-up of which nothing is left to do.
 *
 * @param {SetUp} places
 * @returns {SetUpUnderWay}
 */
export function finishedSetUp(places) {
  const there = Promise.resolve();
  return {
    places,
    npm: there,
    tools: { temporal: there, versitygw: there },
    done: there,
    isDone: true,
    line: (text) => console.log(text),
    stop: async () => {},
  };
}

/** A promise, and what resolves it. */
function gate() {
  /** @type {() => void} */
  let open = () => {};
  /** @type {Promise<void>} */
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/**
 * @typedef {object} Making
 * @property {import('./lib/terminal.mjs').Reporter} reporter
 * @property {NodeJS.ProcessEnv} env
 * @property {AbortSignal} signal Ends what runs
 * @property {Readonly<Record<'npm' | ToolName, { open: () => void }>>} gates Opened when that part is there
 */

/** @param {Making} making */
async function setUpLocked(making) {
  const { reporter, env, signal } = making;
  const started = Date.now();
  reporter.line(bold('Set-up'));
  try {
    const { problems, python } = await checkPrerequisites(env);
    if (problems.length > 0 || python === undefined)
      throw new SetUpError(asList('Please install first', problems));
    const unlock = await takeLock(path.join(STATE_DIR, 'setup.lock'), {
      onWait: (holder) =>
        reporter.note(`waiting for the set-up that process ${holder} is doing (${STATE_DIR}/setup.lock)`),
      signal,
    });
    try {
      await makeEverything(making, python);
    } finally {
      await unlock();
    }
    reporter.line(`  set-up ready in ${formatSeconds((Date.now() - started) / 1000)}`);
  } finally {
    reporter.close();
  }
}

/**
 * The three lanes run side by side: packages from npm, packages for Python, and the two servers.
 *
 * @param {Making} making
 * @param {import('./lib/installers.mjs').Interpreter} python
 */
async function makeEverything({ reporter, env, signal, gates }, python) {
  const logDir = path.join(STATE_DIR, 'logs');
  const binDir = path.join(STATE_DIR, 'bin');
  const devDir = path.join(ROOT, 'infra', 'dev');
  const note = reporter.note;
  await Promise.all([sweepTemporaries(STATE_DIR), sweepTemporaries(binDir)]);

  const around = {
    ...{ binDir, logDir, goDir: path.join(devDir, 'go'), requirementsDir: path.join(devDir, 'python') },
    ...{ searchPath: env['PATH'] ?? '', python, env, note, signal },
  };
  const obtain = async (/** @type {(typeof TOOLS)[number]} */ tool) => {
    await reporter.item(`${tool.name} ${tool.version}`, () => obtainTool(tool, around));
    gates[tool.name].open();
  };
  const obtainAll = async () => {
    if (availableParallelism() >= CORES_FOR_BOTH_SERVERS) await settle(TOOLS.map(obtain));
    else for (const tool of TOOLS) await obtain(tool);
  };
  const installPackages = async () => {
    await reporter.item('npm packages', () => installNpmPackages({ root: ROOT, logDir, note, signal }));
    gates.npm.open();
  };
  // Without one pip does it, which only takes longer.
  const obtainUv = () =>
    obtainTool(UV, around).then(
      ({ file }) => file,
      () => undefined,
    );
  await settle([
    installPackages(),
    reporter.item('Python environment', () =>
      makePythonEnvironment({
        stateDir: STATE_DIR,
        trainerDir: path.join(ROOT, 'infra', 'trainer'),
        ...{ logDir, env, python, obtainUv, note, signal },
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
