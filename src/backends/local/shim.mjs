/**
 * Watches one local job: starts it, forwards SIGTERM, kills it after its grace, and writes down how it ended. It
 * outlives the worker that started it, because a new worker cannot wait for another process's child.
 *
 * Usage: node shim.mjs FOLDER, the folder of all jobs, by which it is known, and on standard input, up to its end, an order: JSON {folder, environment}. So a worker can start
 * a shim before there is a job, and the job need not wait for Node; a shim whose worker is gone gets no order, and leaves.
 * The folder holds job.json {command, graceSeconds}. Writes started.json (created exclusively: of two shims of one job, the
 * second leaves), ended.json and log.txt; its own errors go to shim.txt.
 */
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { inheritedEnvironment } from '../../domain/lib/inherited-environment.mjs';
import { processIdentity } from './process-identity.mjs';

/** A timer that is to run for longer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Size at which a log is cut: its first bytes are kept for good, and its last ones until the next cut. */
const LOG_BYTES = 16 * 1024 * 1024;
const KEPT_BYTES = 1024 * 1024;
const LOG_CHECK_MS = 200;
/** For a file that says how the job began or ended. What is left of it stays blank, which JSON allows. */
const RESERVED_BYTES = 1024;

const order = await text(process.stdin);
if (order === '') process.exit(0);
const { folder, environment } = JSON.parse(order);
process.on('uncaughtException', (error) => {
  appendIfPossible(`${error.stack}\n`);
  process.exit(1);
});
const { command, graceSeconds } = JSON.parse(readFileSync(join(folder, 'job.json'), 'utf8'));
const shim = processIdentity(process.pid);

/** Takes the room on the disk that a small file will need: the end of a job is told though its disk has filled up meanwhile. */
function reserve(name) {
  writeFileSync(join(folder, `${name}.${process.pid}`), ' '.repeat(RESERVED_BYTES));
}

/** Writes a reserved file whole or not at all. */
function writeWhole(name, content) {
  const temporary = join(folder, `${name}.${process.pid}`);
  writeFileSync(temporary, JSON.stringify(content), { flag: 'r+' });
  renameSync(temporary, join(folder, name));
}

/** Claims the job: a hard link fails where the name is taken, so a job name never runs twice. */
function claim() {
  const temporary = join(folder, `claim.${process.pid}`);
  writeFileSync(temporary, JSON.stringify({ shim, job: null, startedAt: new Date().toISOString() }));
  try {
    linkSync(temporary, join(folder, 'started.json'));
  } catch (error) {
    if (error.code === 'EEXIST') process.exit(0);
    throw error;
  } finally {
    unlinkSync(temporary);
  }
}

/** Signals the job's whole process group; it may be gone already. */
function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function end(exitCode) {
  writeWhole('ended.json', { exitCode, endedAt: new Date().toISOString() });
  process.exit(0);
}

let child;
let stopping = false;

/** SIGTERM to the job, SIGKILL after its grace; before the job is spawned, just remembered. */
function stop() {
  stopping = true;
  if (child?.pid === undefined) return;
  signalGroup(child.pid, 'SIGTERM');
  setTimeout(
    () => signalGroup(child.pid, 'SIGKILL'),
    Math.min(graceSeconds * 1000, LONGEST_TIMER_MS),
  ).unref();
}

process.on('SIGTERM', stop);
claim();
reserve('started.json');
reserve('ended.json');
const log = openSync(join(folder, 'log.txt'), 'a');
child = spawn(command[0], command.slice(1), {
  stdio: ['ignore', log, log],
  detached: true,
  env: { ...inheritedEnvironment(process.env), ...environment },
});

/**
 * Cuts a log that has grown too large: the job appends to it by itself, so that it is neither held up by this process nor ended with
 * it. A disk that is full takes no copies, and the log is cut all the same.
 */
function cutLog() {
  const { size } = fstatSync(log);
  if (size <= LOG_BYTES) return;
  const file = join(folder, 'log.txt');
  try {
    const reading = openSync(file, 'r');
    try {
      const bytes = Buffer.alloc(KEPT_BYTES);
      const head = join(folder, 'log.head.txt');
      if (!existsSync(head))
        writeFileSync(head, bytes.subarray(0, readSync(reading, bytes, 0, KEPT_BYTES, 0)));
      const length = readSync(reading, bytes, 0, KEPT_BYTES, size - KEPT_BYTES);
      writeFileSync(join(folder, 'log.before.txt'), bytes.subarray(0, length));
    } finally {
      closeSync(reading);
    }
  } catch (error) {
    appendIfPossible(`the log was cut without a copy: ${error.message}\n`);
  }
  ftruncateSync(log);
}

function appendIfPossible(line) {
  try {
    appendFileSync(join(folder, 'shim.txt'), line);
  } catch {
    // The disk is full: there is nowhere to say so.
  }
}

setInterval(cutLog, LOG_CHECK_MS).unref();

child.on('error', (error) => {
  try {
    writeFileSync(log, `${error.message}\n`);
  } catch {
    // The disk is full: the exit code has to say enough.
  }
  end(127);
});
child.on('exit', (code, signal) => {
  // Whatever the job left behind ends with it.
  signalGroup(child.pid, 'SIGKILL');
  cutLog();
  end(code ?? 128 + constants.signals[signal]);
});
if (child.pid !== undefined) {
  writeWhole('started.json', { shim, job: processIdentity(child.pid), startedAt: new Date().toISOString() });
  if (stopping) stop();
}
