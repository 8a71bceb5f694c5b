// @ts-check
/** Running programs by argument array, never through a shell. */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, open } from 'node:fs/promises';
import path from 'node:path';

/**
 * @typedef {object} Finished
 * @property {number} code Exit code; 127 when the program could not be started, 124 when it was ended for printing nothing,
 *   130 when the signal ended it
 * @property {string} output What it printed, standard error included, at most its last 64 KiB
 */

const KEEP_BYTES = 64 * 1024;

/**
 * Runs a program to its end and returns what it printed. Never throws for what the program does.
 *
 * @param {string} file
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, logFile?: string, silenceMs?: number, signal?: AbortSignal | undefined }} [options]
 *   logFile also receives all of the output; a program that prints nothing for `silenceMs` is ended, and so is one whose
 *   `signal` fires
 * @returns {Promise<Finished>}
 */
export async function run(file, args, options = {}) {
  const { signal } = options;
  if (signal?.aborted === true) return { code: 130, output: 'ended before it began' };
  const log = options.logFile === undefined ? undefined : await openLog(options.logFile);
  try {
    return await new Promise((resolve) => {
      let output = '';
      let fellSilent = false;
      const child = spawn(file, args, {
        cwd: options.cwd,
        env: options.env ?? process.env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const timer =
        options.silenceMs === undefined
          ? undefined
          : setTimeout(() => {
              fellSilent = true;
              child.kill('SIGKILL');
            }, options.silenceMs);
      const stop = () => child.kill('SIGTERM');
      signal?.addEventListener('abort', stop, { once: true });
      /** @param {Finished} finished */
      const finish = (finished) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
        resolve(finished);
      };
      /** @param {Buffer} chunk */
      const keep = (chunk) => {
        timer?.refresh();
        output = (output + chunk.toString('utf8')).slice(-KEEP_BYTES);
        log?.write(chunk).catch(() => {});
      };
      child.stdout.on('data', keep);
      child.stderr.on('data', keep);
      child.once('error', (error) => finish({ code: 127, output: error.message }));
      child.once('close', (code) =>
        finish({ code: fellSilent ? 124 : (code ?? (signal?.aborted === true ? 130 : 1)), output }),
      );
    });
  } finally {
    await log?.close();
  }
}

/** @param {string} file */
async function openLog(file) {
  await mkdir(path.dirname(file), { recursive: true });
  return open(file, 'a');
}

/**
 * Full path of a program on PATH.
 *
 * @param {string} name
 * @param {string} [searchPath] PATH by default
 * @returns {Promise<string | undefined>}
 */
export async function which(name, searchPath = process.env['PATH'] ?? '') {
  for (const folder of searchPath.split(path.delimiter)) {
    if (folder === '') continue;
    const candidate = path.join(folder, name);
    try {
      await access(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not here; the next folder may have it.
    }
  }
  return undefined;
}

/**
 * Last lines of a text, for error messages.
 *
 * @param {string} text
 * @param {number} lines
 */
export function lastLines(text, lines) {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
