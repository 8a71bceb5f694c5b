// @ts-check
/** The trainer's Python: which interpreter to build on, and the environment of hash-locked packages. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isRecord, readJson, readText, sha256Text, writeJson } from './files.mjs';
import { installInto, installersFor, moveAway, wantsOwnUv } from './installers.mjs';
import { MINIMUM, PLATFORM } from './pins.mjs';
import { lastLines, run, which } from './processes.mjs';
import { seesNvidia, torchSource } from './torch.mjs';
import { isAtLeast } from './versions.mjs';

/** @typedef {import('./installers.mjs').Interpreter} Interpreter */

const PROBE = [
  'import importlib.util as u, json, platform, sys',
  'print(json.dumps({"version": platform.python_version(), "file": sys.executable,',
  '  "venv": all(u.find_spec(m) for m in ("venv", "ensurepip"))}))',
].join('\n');

/** Names looked for on PATH, the one the project is developed with first. */
const NAMES = ['python3.11', 'python3.12', 'python3.13', 'python3', 'python'];

const PROBE_MS = 120_000;

/**
 * The first Python that is new enough. `LONGHAUL_PYTHON` names one instead, which then has to be.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ python: Interpreter } | { problem: string }>}
 */
export async function findPython(env) {
  const chosen = env['LONGHAUL_PYTHON'] ?? '';
  const names = chosen === '' ? NAMES : [chosen];
  /** @type {string[]} */
  const tooOld = [];
  for (const name of names) {
    const file = path.isAbsolute(name) ? name : await which(name, env['PATH']);
    const python = file === undefined ? undefined : await probe(file);
    if (python === undefined) continue;
    if (isAtLeast(python.version, MINIMUM.python)) return { python };
    tooOld.push(`${name} is ${python.version}`);
  }
  const wanted = `Python ${short(MINIMUM.python)} or newer`;
  if (chosen !== '')
    return { problem: `${wanted}: LONGHAUL_PYTHON=${chosen} ${tooOld[0] ?? 'does not run'}.` };
  const found = tooOld.length === 0 ? 'none was found on PATH' : tooOld.join(', ');
  return {
    problem:
      `${wanted} is missing (${found}). Get it from https://www.python.org/downloads, ` +
      `your system's packages (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12), ` +
      `or name one with LONGHAUL_PYTHON.`,
  };
}

/** @param {string} version */
const short = (version) => version.replace(/\.0$/, '');

/**
 * @param {string} file
 * @returns {Promise<Interpreter | undefined>}
 */
async function probe(file) {
  const { code, output } = await run(file, ['-c', PROBE], { silenceMs: PROBE_MS });
  if (code !== 0) return undefined;
  try {
    const facts = JSON.parse(output);
    return { file: facts.file, version: facts.version, canMakeEnvironments: facts.venv === true };
  } catch {
    return undefined;
  }
}

/**
 * Where the trainer's Python lies. `LONGHAUL_VENV` names an environment of the user's own.
 *
 * @param {string} stateDir
 * @param {NodeJS.ProcessEnv} env
 */
export function trainerPython(stateDir, env) {
  const own = env['LONGHAUL_VENV'] ?? '';
  return path.join(own === '' ? path.join(stateDir, 'venv') : path.resolve(own), 'bin', 'python');
}

/**
 * @typedef {object} EnvironmentOptions
 * @property {string} stateDir
 * @property {string} trainerDir Folder with the requirements files
 * @property {string} logDir
 * @property {NodeJS.ProcessEnv} env
 * @property {Interpreter} python
 * @property {() => Promise<string | undefined>} [obtainUv] Gets a uv where there is none; undefined: it can't be had
 * @property {(text: string) => void} note
 * @property {AbortSignal | undefined} [signal] Ends what runs
 */

/**
 * Makes the environment when it is not the one that the lock file describes.
 *
 * @param {EnvironmentOptions} options
 * @returns {Promise<{ how: string }>}
 */
export async function makePythonEnvironment(options) {
  if ((options.env['LONGHAUL_VENV'] ?? '') !== '') return checkOwnEnvironment(options);
  const folder = path.join(options.stateDir, 'venv');
  const stamp = path.join(folder, 'longhaul.json');
  const key = await environmentKey(options);
  if (await isCurrent(stamp, key)) return { how: 'already there' };
  await moveAway(folder);
  await installersFor(options);
  const source = torchSource(options.env, { platform: PLATFORM, seesNvidia: seesNvidia() });
  source.notes.forEach((note) => options.note(note));
  const uv = (await wantsOwnUv(options.python, options.env)) ? await options.obtainUv?.() : undefined;
  const how = await install(options, folder, { uv, torchIndex: source.index });
  await importOnce(options, folder);
  await writeJson(stamp, { key, python: options.python.version, how });
  return { how };
}

/**
 * What the environment is made of: its lock file, its interpreter, and where PyTorch comes from.
 *
 * @param {EnvironmentOptions} options
 */
async function environmentKey({ trainerDir, python, env }) {
  const lock = await readFile(path.join(trainerDir, 'requirements-dev.txt'), 'utf8');
  return sha256Text(lock, python.file, python.version, env['LONGHAUL_TORCH_INDEX'] ?? '');
}

/**
 * @param {string} stamp
 * @param {string} key
 */
async function isCurrent(stamp, key) {
  const recorded = await readJson(stamp);
  return isRecord(recorded) && recorded['key'] === key;
}

/**
 * @param {EnvironmentOptions} options
 * @param {string} folder
 * @param {{ uv: string | undefined, torchIndex: string | undefined }} how
 */
async function install(options, folder, { uv, torchIndex }) {
  const lockFile = path.join(options.trainerDir, 'requirements-dev.txt');
  const lock = await readFile(lockFile, 'utf8');
  const rest = `${folder}.requirements.txt`;
  if (torchIndex !== undefined) {
    await mkdir(path.dirname(rest), { recursive: true });
    await writeFile(rest, withoutTorch(lock));
  }
  const torch = /^torch==[^\s;\\]+/m.exec(lock)?.[0] ?? 'torch';
  const logFile = logFileOf(options);
  try {
    const installer = await installInto(
      folder,
      (call) =>
        torchIndex === undefined
          ? [[...call, '--require-hashes', '-r', lockFile]]
          : [
              [...call, '--require-hashes', '--no-deps', '-r', rest],
              [...call, '--no-deps', '--index-url', torchIndex, torch],
            ],
      { ...options, uv, logFile },
    );
    return `${installer}, hashes verified`;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`the Python packages could not be installed:\n${why}\n(all of it: ${logFile})`, {
      cause: error,
    });
  }
}

/** @param {EnvironmentOptions} options */
const logFileOf = ({ logDir }) => path.join(logDir, 'python.log');

/**
 * Imports what jobs import: it shows that the environment works, and leaves compiled modules, without which every job
 * would start twice as slowly.
 *
 * @param {EnvironmentOptions} options
 * @param {string} folder
 */
async function importOnce(options, folder) {
  const script =
    'import longhaul_trainer.train.stage, longhaul_trainer.train.train, longhaul_trainer.evaluate.evaluate';
  const { code, output } = await run(path.join(folder, 'bin', 'python'), ['-c', script], {
    logFile: logFileOf(options),
    env: { ...options.env, PYTHONPATH: options.trainerDir, PYTHONDONTWRITEBYTECODE: '' },
    signal: options.signal,
  });
  if (code !== 0) throw new Error(`the trainer's environment does not work:\n${lastLines(output, 4)}`);
}

/**
 * The lock file without PyTorch and what only its CUDA builds need, for an environment whose PyTorch comes from an
 * index of its own.
 *
 * @param {string} lock
 */
export function withoutTorch(lock) {
  const entries = lock.split(/\n(?=[A-Za-z0-9])/);
  return entries.filter((entry) => !/^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/.test(entry)).join('\n');
}

/**
 * An environment that the user brought: its packages have to be the pinned ones, by version.
 *
 * @param {EnvironmentOptions} options
 */
async function checkOwnEnvironment({ trainerDir, env, stateDir }) {
  const python = trainerPython(stateDir, env);
  const pinned = pinsOf(
    `${await readText(path.join(trainerDir, 'requirements.in'))}\n` +
      `${await readText(path.join(trainerDir, 'requirements-dev.in'))}`,
  );
  const script = [
    'import importlib.metadata as m, json, sys',
    'found = {}',
    'for name in sys.argv[1:]:',
    '    try: found[name] = m.version(name)',
    '    except m.PackageNotFoundError: pass',
    'print(json.dumps(found))',
  ].join('\n');
  const { code, output } = await run(python, ['-c', script, ...pinned.keys()], { silenceMs: PROBE_MS });
  if (code !== 0) throw new Error(`LONGHAUL_VENV: ${python} does not run: ${lastLines(output, 1)}`);
  const found = new Map(Object.entries(JSON.parse(output)));
  const problems = [...pinned].flatMap(([name, version]) => {
    const there = String(found.get(name) ?? '');
    // A local part names a build of the same version: 2.15.0+cpu.
    return there.split('+')[0] === version
      ? []
      : [`${name} ${version} (has ${there === '' ? 'none' : there})`];
  });
  if (problems.length > 0) throw new Error(`LONGHAUL_VENV lacks ${problems.join(', ')}`);
  return { how: `LONGHAUL_VENV, versions checked` };
}

/**
 * Names and versions that a requirements.in pins.
 *
 * @param {string} text
 * @returns {Map<string, string>}
 */
export function pinsOf(text) {
  return new Map(
    [...text.matchAll(/^([A-Za-z0-9_.-]+)==(\S+)/gm)].map((match) => [match[1] ?? '', match[2] ?? '']),
  );
}
