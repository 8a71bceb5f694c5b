// @ts-check
/** npm packages as package-lock.json has them. */
import path from 'node:path';
import { isRecord, readJson } from './files.mjs';
import { lastLines, run } from './processes.mjs';

/**
 * Whether node_modules holds what the lock file asks for, told from the lock file that npm keeps inside it. Packages
 * for other platforms may be missing.
 *
 * @param {string} root
 */
export async function npmPackagesMatch(root) {
  const wanted = packagesOf(await readJson(path.join(root, 'package-lock.json')));
  const installed = packagesOf(await readJson(path.join(root, 'node_modules', '.package-lock.json')));
  if (wanted === undefined || installed === undefined) return false;
  for (const [name, entry] of Object.entries(wanted)) {
    if (name === '' || !isRecord(entry)) continue;
    const there = installed[name];
    if (!isRecord(there)) {
      if (entry['optional'] !== true) return false;
    } else if (there['version'] !== entry['version'] || there['integrity'] !== entry['integrity']) {
      return false;
    }
  }
  return Object.keys(installed).every((name) => name in wanted);
}

/** @param {unknown} lock */
function packagesOf(lock) {
  const packages = isRecord(lock) ? lock['packages'] : undefined;
  return isRecord(packages) ? packages : undefined;
}

/**
 * Installs the packages when they do not match.
 *
 * @param {{ root: string, logDir: string, note: (text: string) => void, signal?: AbortSignal | undefined }} options
 * @returns {Promise<{ how: string }>}
 */
export async function installNpmPackages({ root, logDir, note, signal }) {
  if (await npmPackagesMatch(root)) return { how: 'already there' };
  note('npm packages: about 100 MB');
  const logFile = path.join(logDir, 'npm-ci.log');
  const { code, output } = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    logFile,
    signal,
  });
  if (code !== 0) throw new Error(`npm ci failed:\n${lastLines(output, 8)}\n(all of it: ${logFile})`);
  return { how: 'npm ci' };
}
