/** The worker that `npm start` runs beside the servers. */
import { mkdirSync, openSync, closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { spawnWorker } from '../../src/cli/worker-process.js';
import { lastLines } from './lib/processes.mjs';

/** How long a worker may take to save and stop its jobs before it is killed. */
const STOP_SECONDS = 120;

/** A worker process. */
export interface EmbeddedWorker {
  /** Resolves with a sentence when it ends without having been told to. */
  readonly ended: Promise<string>;
  /** Asks it to end and waits until it has. Safe to call twice. */
  stop(): Promise<void>;
  /** Ends it at once. */
  kill(): void;
}

/** Starts the worker in a session of its own: a Ctrl-C in the terminal must reach it last, not first. */
export function startEmbeddedWorker(dataDir: string, logDir: string): EmbeddedWorker {
  mkdirSync(logDir, { recursive: true });
  const logFile = path.join(logDir, 'worker.log');
  const log = openSync(logFile, 'w');
  const child = spawnWorker({
    ...{ stdout: log, stderr: log },
    ...{ env: process.env, detached: true, ofStack: dataDir },
  });
  closeSync(log);
  let stopping = false;
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${String(code)}`));
  });
  return {
    ended: exited.then(async (how) => {
      if (stopping) return new Promise<never>(() => undefined);
      const tail = lastLines(await readFile(logFile, 'utf8'), 15);
      return `The worker ended (${how}). The end of its log, ${logFile}:\n${tail}`;
    }),
    async stop() {
      if (child.exitCode === null && child.signalCode === null && !stopping) child.kill('SIGTERM');
      stopping = true;
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS * 1000);
      await exited;
      clearTimeout(timer);
    },
    kill() {
      stopping = true;
      child.kill('SIGKILL');
    },
  };
}
