/**
 * A server process that outlives who started it: it is found again by its process id and start time, and stopped by
 * nothing else, so that a recycled process id never gets a signal meant for a server of ours.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { startOf } from '../lib/process-identity.mjs';
import { messageOf } from '../../../src/domain/lib/text.js';

/** A process by its id and the moment it started, as the system words it. */
export const processIdentitySchema = z.strictObject({
  pid: z.int().positive(),
  startedAt: z.string().min(1),
});
export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

const POLL_MS = 25;
const LOG_BYTES = 8 * 1024 * 1024;
/** A server that can't bind its port ends long before it has logged more. */
const LOG_LOOK_BYTES = 1024 * 1024;

/** Identity of a running process; undefined when there is none with that id. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const startedAt = await startOf(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Whether that very process still runs. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  return (await startOf(identity.pid)) === identity.startedAt;
}

/** A server that was just started. */
export interface StartedServer {
  readonly identity: ProcessIdentity;
  /** Resolves with a sentence when the process ends, whatever the reason. */
  readonly ended: Promise<string>;
}

/** A port was free when it was chosen, and another process had it when the server wanted to bind it. */
export class PortTakenError extends Error {
  override readonly name = 'PortTakenError';
}

/** How a server is started, and when it is ready. */
export interface ServerOptions {
  /** Subject of sentences, as in "the S3 server". */
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** How long it may take until it is ready. */
  readonly seconds: number;
  /** Whether that very process answers: on a port of its own choice, another one may. */
  readonly isReady: (pid: number) => Promise<boolean>;
  /** Gives up the wait; the server is stopped. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts a server and waits until it is ready. One that is not ready in time is stopped.
 *
 * @throws {PortTakenError} when it ended because of its port
 */
export async function startServer(options: ServerOptions): Promise<StartedServer> {
  mkdirSync(path.dirname(options.logFile), { recursive: true });
  keepLogSmall(options.logFile);
  const logStart = sizeOf(options.logFile);
  const server = await spawnServer(options);
  try {
    await waitUntil(options.name, () => options.isReady(server.identity.pid), {
      seconds: options.seconds,
      ended: server.ended,
      signal: options.signal,
    });
    return server;
  } catch (error) {
    await stopProcess(server.identity);
    if (/address already in use/i.test(textFrom(options.logFile, logStart))) {
      throw new PortTakenError(messageOf(error));
    }
    throw error;
  }
}

/**
 * Starts a server in a session of its own, so that a Ctrl-C meant for its starter does not reach it, with its output
 * in a log file.
 */
async function spawnServer(options: ServerOptions): Promise<StartedServer> {
  const log = openSync(options.logFile, 'a');
  try {
    const child = spawn(options.file, options.args, {
      detached: true,
      env: options.env,
      stdio: ['ignore', log, log],
    });
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(`${options.name}: ${error.message}`));
      child.once('exit', (code, signal) =>
        resolve(
          `${options.name} ended (${signal ?? `exit code ${String(code)}`}); its log: ${options.logFile}`,
        ),
      );
    });
    child.unref();
    const identity = child.pid === undefined ? undefined : await identify(child.pid);
    if (identity === undefined) throw new Error(await ended);
    return { identity, ended };
  } finally {
    closeSync(log);
  }
}

function keepLogSmall(file: string): void {
  if (sizeOf(file) > LOG_BYTES) renameSync(file, `${file}.old`);
}

/** Bytes of a file; 0 when it isn't there. */
function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** What a file holds from a byte on, as far as an error message goes. */
function textFrom(file: string, start: number): string {
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(LOG_LOOK_BYTES);
    return buffer.toString('utf8', 0, readSync(handle, buffer, 0, buffer.length, start));
  } finally {
    closeSync(handle);
  }
}

/** Asks the process to end, makes it end when it hasn't after a while, and returns when it is gone. */
export async function stopProcess(identity: ProcessIdentity, graceSeconds = 10): Promise<void> {
  for (const [signal, seconds] of [
    ['SIGTERM', graceSeconds],
    ['SIGKILL', 5],
  ] as const) {
    if (!(await isRunning(identity))) return;
    try {
      process.kill(identity.pid, signal);
    } catch {
      return;
    }
    const deadline = performance.now() + seconds * 1000;
    while (performance.now() < deadline) {
      if (!(await isRunning(identity))) return;
      await sleep(POLL_MS);
    }
  }
}

/** Repeats a check until it holds; fails with the server's own end, or after `seconds`. */
export async function waitUntil(
  what: string,
  check: () => Promise<boolean>,
  options: {
    readonly seconds: number;
    readonly ended?: Promise<string>;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<void> {
  let end: string | undefined;
  void options.ended?.then((sentence) => {
    end = sentence;
  });
  const deadline = performance.now() + options.seconds * 1000;
  while (!(await check())) {
    options.signal?.throwIfAborted();
    if (end !== undefined) throw new Error(end);
    if (performance.now() > deadline)
      throw new Error(`${what} did not answer within ${String(options.seconds)} s`);
    await sleep(POLL_MS);
  }
}
