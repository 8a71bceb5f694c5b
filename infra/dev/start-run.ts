/** What `npm start` does once set-up is done: servers, worker, run; and in the opposite order at the end. */
import type { Client } from '@temporalio/client';
import path from 'node:path';
import { withClient } from '../../src/cli/client.js';
import { followRun } from '../../src/cli/follow.js';
import { startFormLink, workflowLink } from '../../src/cli/links.js';
import { readRecipe } from '../../src/cli/recipe-input.js';
import type { GivenRecipe } from '../../src/cli/recipe-input.js';
import { EXIT, printRunEnd } from '../../src/cli/run-end.js';
import { createRunView } from '../../src/cli/run-view.js';
import { newRunName } from '../../src/cli/start-run.js';
import { UserError } from '../../src/cli/user-error.js';
import { loadConfig } from '../../src/config.js';
import type { Config } from '../../src/config.js';
import { currentRun } from './current-run.js';
import { startEmbeddedWorker } from './embedded-worker.js';
import type { EmbeddedWorker } from './embedded-worker.js';
import { bold, dim } from './lib/terminal.mjs';
import { ROOT, STATE_DIR } from './setup.mjs';
import { startStack } from './stack.js';
import type { Stack } from './stack.js';

/** What the user asked for, and what set-up made. */
export interface StartOptions {
  readonly recipeFile: string | undefined;
  readonly preset: string | undefined;
  /** Start a new run even if one is open. */
  readonly isNew: boolean;
  /** Keep everything up after the run. */
  readonly keep: boolean;
  /** Start no run. */
  readonly noRun: boolean;
  readonly binDir: string;
  /** The trainer's Python. */
  readonly python: string;
}

const write = (line: string): void => console.log(line);

/** Does everything and returns the exit code: 0 only for a completed run, or for `--no-run` ended by Ctrl-C. */
export async function startEverything(options: StartOptions): Promise<number> {
  const interrupt = listenForInterrupts();
  try {
    const given = await readRecipe({ file: options.recipeFile, preset: options.preset });
    const stack = await startStack({
      dataDir: path.join(STATE_DIR, 'data'),
      binDir: options.binDir,
      logDir: path.join(STATE_DIR, 'logs'),
    });
    try {
      return await withStack(stack, given, options, interrupt);
    } finally {
      await stack.stop();
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    console.error(error.message);
    return EXIT.failed;
  }
}

async function withStack(
  stack: Stack,
  given: GivenRecipe,
  options: StartOptions,
  interrupt: Interrupt,
): Promise<number> {
  Object.assign(process.env, stack.environment, {
    LONGHAUL_TRAINER_PYTHON: options.python,
    LONGHAUL_DATA_DIR: path.join(STATE_DIR, 'data'),
    // Nobody else would go on with the jobs of a worker that is closed with its terminal.
    LONGHAUL_ON_SHUTDOWN: 'stop',
  });
  const config = loadConfig(process.env, ROOT);
  announce(stack, config);
  const worker = stack.ownedBy === undefined ? startEmbeddedWorker(path.join(STATE_DIR, 'logs')) : undefined;
  if (worker === undefined)
    write(dim(`Process ${String(stack.ownedBy)} runs the servers and a worker here already.`));
  interrupt.onSecond(() => worker?.kill());
  // The connection closes last: servers that end under a call of it would make that call try again.
  const stopAll = async (): Promise<void> => {
    if (worker !== undefined) await stopWorker(worker);
    await stack.stop();
  };
  try {
    return await withClient(config, (client) =>
      runAndWait(client, config, given, options, { stack, worker, interrupt }).finally(stopAll),
    );
  } finally {
    await stopAll();
  }
}

function announce(stack: Stack, config: Config): void {
  write(bold('\nServers'));
  write(`  Temporal UI  ${stack.uiUrl}`);
  write(`  S3           ${stack.s3Endpoint}  bucket ${stack.bucket}`);
  write(`  New run      ${startFormLink(config, newRunName('tiny', new Date()))}`);
  write(
    dim('               (the form of the Temporal UI, filled in; its input takes {} or a recipe as JSON)'),
  );
}

interface Running {
  readonly stack: Stack;
  /** undefined: another process has one. */
  readonly worker: EmbeddedWorker | undefined;
  readonly interrupt: Interrupt;
}

async function runAndWait(
  client: Client,
  config: Config,
  given: GivenRecipe,
  options: StartOptions,
  { stack, worker, interrupt }: Running,
): Promise<number> {
  const broken = Promise.race([stack.broken, worker?.ended ?? new Promise<never>(() => undefined)]).then(
    (why) => {
      throw new UserError(why);
    },
  );
  broken.catch(() => undefined);
  if (options.noRun) {
    write('\nReady. Ctrl-C stops the servers and the worker.');
    await Promise.race([broken, interrupt.first]);
    return EXIT.completed;
  }
  const code = await Promise.race([broken, followCurrent(client, config, given, options.isNew, interrupt)]);
  if (!options.keep || interrupt.signal.aborted) return code;
  write(`\nThe Temporal UI stays up at ${stack.uiUrl}. Ctrl-C stops it.`);
  await Promise.race([broken, interrupt.first]);
  return code;
}

async function followCurrent(
  client: Client,
  config: Config,
  given: GivenRecipe,
  isNew: boolean,
  interrupt: Interrupt,
): Promise<number> {
  const current = await currentRun(client, given, { stateDir: STATE_DIR, isNew, now: new Date() });
  write(bold(`\nRun ${current.run}`));
  write(`  ${current.how}`);
  write(`  ${workflowLink(config, current.run, current.runId)}\n`);
  const end = await followRun(client, current.run, createRunView(), interrupt.signal);
  if (end.state === 'left') {
    write(`\nStopping. The run is kept: the next \`npm start\` continues it where it is.`);
    write(dim('(Ctrl-C again does not wait for a checkpoint)'));
  }
  return printRunEnd({ config, run: current.run, end, root: ROOT, write });
}

async function stopWorker(worker: EmbeddedWorker): Promise<void> {
  const since = performance.now();
  await worker.stop();
  const seconds = (performance.now() - since) / 1000;
  if (seconds > 1) write(dim(`Worker ended after ${seconds.toFixed(1)} s.`));
}

interface Interrupt {
  /** Fires at the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** Resolves at the same moment. */
  readonly first: Promise<void>;
  /** What a second one does. */
  onSecond(action: () => void): void;
}

function listenForInterrupts(): Interrupt {
  const controller = new AbortController();
  let second = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (controller.signal.aborted) second();
        controller.abort();
        resolve();
      });
    }
  });
  return {
    signal: controller.signal,
    first,
    onSecond: (action) => {
      second = action;
    },
  };
}
