// @ts-check
/** `npm run lock:python`: writes the trainer's hash-locked requirements anew from what requirements*.in name. Needs `uv`. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const TRAINER = fileURLToPath(new URL('../trainer/', import.meta.url));

/** Lock files record hashes and never where packages came from. */
const OPTIONS = [
  ...['--universal', '--generate-hashes', '--python-version', '3.11'],
  ...['--no-emit-index-url', '--no-emit-find-links', '--custom-compile-command', 'npm run lock:python'],
];

/**
 * @param {string} name without its ending
 * @param {string[]} constraints
 */
function lock(name, constraints) {
  const files = [`${name}.in`, '-o', `${name}.txt`];
  execFileSync('uv', ['pip', 'compile', '--quiet', ...OPTIONS, ...constraints, ...files], {
    cwd: path.resolve(TRAINER),
    stdio: 'inherit',
  });
}

lock('requirements', []);
lock('requirements-dev', ['-c', 'requirements.txt']);
// What is laid over the environment for one test; the rest of its needs are there already.
lock('tests/transformers-4.46', ['--no-deps', '--no-annotate']);
