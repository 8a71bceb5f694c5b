// @ts-check
/** `npm run lock:python`: writes the hash-locked requirements anew from what the .in files name. Needs `uv`. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
const TRAINER = folder('../trainer/');
const PROGRAMS = folder('python/');

/** Lock files record hashes and never where packages came from. */
const OPTIONS = [
  ...['--universal', '--generate-hashes', '--python-version', '3.11'],
  ...['--no-emit-index-url', '--no-emit-find-links', '--custom-compile-command', 'npm run lock:python'],
];

/**
 * @param {string} where folder
 * @param {string} name without its ending
 * @param {string[]} constraints
 */
function lock(where, name, constraints) {
  const files = [`${name}.in`, '-o', `${name}.txt`];
  execFileSync('uv', ['pip', 'compile', '--quiet', ...OPTIONS, ...constraints, ...files], {
    cwd: path.resolve(where),
    stdio: 'inherit',
  });
}

lock(TRAINER, 'requirements', []);
lock(TRAINER, 'requirements-dev', ['-c', 'requirements.txt']);
// What is laid over the environment for one test; the rest of its needs are there already.
lock(TRAINER, 'tests/transformers-4.46', ['--no-deps', '--no-annotate']);
// Programs that set-up needs, as packages that have nothing but a binary in them.
lock(PROGRAMS, 'temporal', ['--no-annotate']);
lock(PROGRAMS, 'uv', ['--no-annotate']);
