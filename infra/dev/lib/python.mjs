// @ts-check
/** The trainer's Python: which interpreter to build on, and the environment of hash-locked packages. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isRecord, readJson, readText, sha256Text, temporaryBeside, writeJson } from './files.mjs';
import { MINIMUM, PLATFORM, PYTHON_SIZES } from './pins.mjs';
import { lastLines, run, which } from './processes.mjs';
import { isAtLeast } from './versions.mjs';

/** @typedef {{ file: string, version: string, canMakeEnvironments: boolean }} Interpreter */

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
 * @property {(text: string) => void} note
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
  const uv = await which('uv', options.env['PATH']);
  if (uv === undefined && !options.python.canMakeEnvironments) {
    throw new Error(
      `${options.python.file} has no venv module. Install it (Debian, Ubuntu: apt install python3-venv) or uv.`,
    );
  }
  announce(options);
  const how = await install(options, folder, uv);
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
 * Removes a folder so that no half of it is ever seen under its name.
 *
 * @param {string} folder
 */
async function moveAway(folder) {
  const away = temporaryBeside(folder);
  try {
    await rename(folder, away);
  } catch {
    return;
  }
  await rm(away, { recursive: true, force: true });
}

/** @param {EnvironmentOptions} options */
function announce({ env, note }) {
  const size = PYTHON_SIZES[PLATFORM];
  if ((env['LONGHAUL_TORCH_INDEX'] ?? '') !== '') {
    note(
      'Python environment: PyTorch from LONGHAUL_TORCH_INDEX (size as that index has it), the rest 0.1 GB',
    );
  } else if (size !== undefined) {
    note(`Python environment: PyTorch and its libraries, ${size.download} to download, ${size.disk} on disk`);
    if (process.platform === 'linux')
      note('(most of it is CUDA; the README tells how to take the light CPU build)');
  }
}

/**
 * With uv where there is one, since it is several times faster; with pip where there is none or it fails, since uv
 * does not read pip's configuration and may not know the user's package index.
 *
 * @param {EnvironmentOptions} options
 * @param {string} folder
 * @param {string | undefined} uv
 */
async function install(options, folder, uv) {
  /** @type {string[]} */
  const failures = [];
  for (const installer of [...(uv === undefined ? [] : [uvInstaller(uv)]), pipInstaller]) {
    if (installer === pipInstaller && !options.python.canMakeEnvironments) continue;
    const failure = await installWith(installer, options, folder);
    if (failure === undefined) return `${installer.name}, hashes verified`;
    failures.push(`${installer.name}: ${failure}`);
    await moveAway(folder);
  }
  throw new Error(
    `the Python packages could not be installed:\n${failures.join('\n')}\n` +
      `(all of it: ${path.join(options.logDir, 'python.log')})`,
  );
}

/**
 * @typedef {object} Installer
 * @property {string} name
 * @property {(python: string, folder: string) => [string, ...string[]]} create
 * @property {(folder: string) => [string, ...string[]]} install
 */

/** @type {(uv: string) => Installer} */
const uvInstaller = (uv) => ({
  name: 'uv',
  create: (python, folder) => [uv, 'venv', '--quiet', '--python', python, folder],
  install: (folder) => [uv, 'pip', 'install', '--quiet', '--python', path.join(folder, 'bin', 'python')],
});

/** @type {Installer} */
const pipInstaller = {
  name: 'pip',
  create: (python, folder) => [python, '-m', 'venv', folder],
  install: (folder) => [path.join(folder, 'bin', 'python'), '-m', 'pip', 'install', '--quiet'],
};

/**
 * @param {Installer} installer
 * @param {EnvironmentOptions} options
 * @param {string} folder
 * @returns {Promise<string | undefined>} What failed
 */
async function installWith(installer, { python, trainerDir, logDir, env }, folder) {
  const logFile = path.join(logDir, 'python.log');
  const lockFile = path.join(trainerDir, 'requirements-dev.txt');
  const torchIndex = env['LONGHAUL_TORCH_INDEX'] ?? '';
  const commands = [installer.create(python.file, folder)];
  if (torchIndex === '') {
    commands.push([...installer.install(folder), '--require-hashes', '-r', lockFile]);
  } else {
    const rest = `${folder}.requirements.txt`;
    await mkdir(path.dirname(rest), { recursive: true });
    const lock = await readFile(lockFile, 'utf8');
    await writeFile(rest, withoutTorch(lock));
    const torch = /^torch==[^\s;\\]+/m.exec(lock)?.[0] ?? 'torch';
    commands.push([...installer.install(folder), '--require-hashes', '--no-deps', '-r', rest]);
    commands.push([...installer.install(folder), '--no-deps', '--index-url', torchIndex, torch]);
  }
  for (const [file, ...args] of commands) {
    const { code, output } = await run(file, args, { logFile, env: quietPip(env) });
    if (code !== 0) return lastLines(output, 4);
  }
  return undefined;
}

/**
 * Imports what jobs import: it shows that the environment works, and leaves compiled modules, without which every job
 * would start twice as slowly.
 *
 * @param {EnvironmentOptions} options
 * @param {string} folder
 */
async function importOnce({ trainerDir, logDir, env }, folder) {
  const script =
    'import longhaul_trainer.train.stage, longhaul_trainer.train.train, longhaul_trainer.evaluate.evaluate';
  const { code, output } = await run(path.join(folder, 'bin', 'python'), ['-c', script], {
    logFile: path.join(logDir, 'python.log'),
    env: { ...env, PYTHONPATH: trainerDir, PYTHONDONTWRITEBYTECODE: '' },
  });
  if (code !== 0) throw new Error(`the trainer's environment does not work:\n${lastLines(output, 4)}`);
}

/** @param {NodeJS.ProcessEnv} env */
function quietPip(env) {
  return { ...env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PYTHONUTF8: '1' };
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
