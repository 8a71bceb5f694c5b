// @ts-check
/** Making a Python environment and putting packages into it: with uv where it can be had, else with pip. */
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { temporaryBeside } from './files.mjs';
import { lastLines, run, which } from './processes.mjs';

/** @typedef {{ file: string, version: string, canMakeEnvironments: boolean }} Interpreter */

/**
 * @typedef {object} Installer
 * @property {string} name
 * @property {(python: string, folder: string) => [string, ...string[]]} create Makes an empty environment
 * @property {(folder: string) => [string, ...string[]]} install Puts into it what follows
 * @property {(cache: string) => NodeJS.ProcessEnv} [settings] Its own environment variables; `cache`: a folder that is thrown away
 */

/**
 * @typedef {object} InstallOptions
 * @property {Interpreter} python
 * @property {NodeJS.ProcessEnv} env
 * @property {string | undefined} [uv] A uv of our own, for where PATH has none
 * @property {string} logFile Receives everything that is printed
 * @property {AbortSignal | undefined} [signal] Ends what runs
 */

/** @type {(uv: string) => Installer} */
const uvInstaller = (uv) => ({
  name: 'uv',
  create: (python, folder) => [uv, 'venv', '--quiet', '--python', python, folder],
  install: (folder) => [uv, 'pip', 'install', '--quiet', '--python', path.join(folder, 'bin', 'python')],
});

/** Leaves nothing in the user's folders: nobody there uses uv. @type {(uv: string) => Installer} */
const ownUvInstaller = (uv) => ({
  ...uvInstaller(uv),
  settings: (cache) => ({ UV_CACHE_DIR: cache, UV_PYTHON_DOWNLOADS: 'never' }),
});

/** @type {Installer} */
const pipInstaller = {
  name: 'pip',
  create: (python, folder) => [python, '-m', 'venv', folder],
  install: (folder) => [path.join(folder, 'bin', 'python'), '-m', 'pip', 'install', '--quiet'],
};

/**
 * With uv where there is one, since it is several times faster; with pip where there is none or it fails, since uv
 * does not read pip's configuration and may not know the user's package index.
 *
 * @param {Pick<InstallOptions, 'python' | 'env' | 'uv'>} options
 * @returns {Promise<readonly Installer[]>} In the order to try them
 * @throws where neither is to be had
 */
export async function installersFor({ python, env, uv }) {
  const theirs = await which('uv', env['PATH']);
  const installers = [
    ...(theirs === undefined ? [] : [uvInstaller(theirs)]),
    ...(theirs === undefined && uv !== undefined ? [ownUvInstaller(uv)] : []),
    ...(python.canMakeEnvironments ? [pipInstaller] : []),
  ];
  if (installers.length > 0) return installers;
  throw new Error(
    `${python.file} has no venv module. Install it (Debian, Ubuntu: apt install python3-venv) or uv.`,
  );
}

const CONFIG_MS = 60_000;

/**
 * Whether a uv of our own would serve: not where there is one, and not where pip is told to look elsewhere than it would by
 * itself, which uv does not read.
 *
 * @param {Interpreter} python
 * @param {NodeJS.ProcessEnv} env
 */
export async function wantsOwnUv(python, env) {
  if ((await which('uv', env['PATH'])) !== undefined || !python.canMakeEnvironments) return false;
  const { code, output } = await run(python.file, ['-m', 'pip', 'config', 'list'], {
    env,
    silenceMs: CONFIG_MS,
  });
  const told = code === 0 && /^\S*\.(index-url|extra-index-url|no-index|proxy|client-cert)=/m.test(output);
  return !told && !Object.keys(env).some((name) => /^PIP_(EXTRA_)?INDEX_URL$|^PIP_NO_INDEX$/.test(name));
}

/**
 * Makes an environment in a folder and installs into it. What one installer has left is removed before the next one tries.
 *
 * @param {string} folder
 * @param {(install: [string, ...string[]]) => readonly (readonly [string, ...string[]])[]} commands The commands that install,
 *   each beginning with what the installer is called by
 * @param {InstallOptions} options
 * @returns {Promise<string>} Name of the installer
 * @throws with what each installer said last
 */
export async function installInto(folder, commands, options) {
  /** @type {string[]} */
  const failures = [];
  const cache = temporaryBeside(`${folder}-cache`);
  for (const installer of await installersFor(options)) {
    const all = [installer.create(options.python.file, folder), ...commands(installer.install(folder))];
    const env = { ...options.env, ...installer.settings?.(cache) };
    const failure = await firstFailure(all, { ...options, env });
    await rm(cache, { recursive: true, force: true });
    if (failure === undefined) return installer.name;
    failures.push(`${installer.name}: ${failure}`);
    await moveAway(folder);
    options.signal?.throwIfAborted();
  }
  throw new Error(failures.join('\n'));
}

/**
 * @param {readonly (readonly [string, ...string[]])[]} commands
 * @param {InstallOptions} options
 * @returns {Promise<string | undefined>} What failed
 */
async function firstFailure(commands, { env, logFile, signal }) {
  const quiet = { ...env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PYTHONUTF8: '1' };
  for (const [file, ...args] of commands) {
    const { code, output } = await run(file, args, { logFile, env: quiet, signal });
    if (code !== 0) return lastLines(output, 4);
  }
  return undefined;
}

/**
 * Removes a folder so that no half of it is ever seen under its name.
 *
 * @param {string} folder
 */
export async function moveAway(folder) {
  const away = temporaryBeside(folder);
  try {
    await rename(folder, away);
  } catch {
    return;
  }
  await rm(away, { recursive: true, force: true });
}
