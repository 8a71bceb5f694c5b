/**
 * What `npm start` does beside and after the set-up: servers, worker, run; and in the opposite order at the end. Each server is
 * started as soon as its binary is there. Worker and run wait for all of the set-up: curation already reads Python packages.
 */
import type { Client } from '@temporalio/client';
import path from 'node:path';
import { withClient } from '../../src/cli/client.js';
import { followRun } from '../../src/cli/follow.js';
import { startFormLink, workflowLink } from '../../src/cli/links.js';
import { readRecipe } from '../../src/cli/recipe-input.js';
import type { GivenRecipe } from '../../src/cli/recipe-input.js';
import { EXIT, printRunEnd } from '../../src/cli/run-end.js';
import { createRunView } from '../../src/cli/run-view.js';
import { nameForLater } from '../../src/cli/start-run.js';
import { UserError } from '../../src/cli/user-error.js';
import { loadConfig } from '../../src/config.js';
import type { Config } from '../../src/config.js';
import { currentRun } from './current-run.js';
import { startEmbeddedWorker } from './embedded-worker.js';
import type { EmbeddedWorker } from './embedded-worker.js';
import { bold, dim } from './lib/terminal.mjs';
import { ROOT, SetUpError, STATE_DIR } from './setup.mjs';
import type { SetUpUnderWay } from './setup.mjs';
import { startStack } from './stack.js';
import type { Stack } from './stack.js';
import { StackError } from './stack/folder.js';

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
  /** What makes binaries, packages and the trainer's Python; it may still be at it. */
  readonly setUp: SetUpUnderWay;
  /** Folder of everything that runs make and keep; that of set-up by default. */
  readonly stateDir?: string;
}

const write = (line: string): void => console.log(line);

/** How long jobs that no worker has stopped may take to save. */
const JOB_SECONDS = 30;

/**
 * Does everything and returns the exit code: 0 only for a completed run, or for `--no-run` ended by Ctrl-C.
 *
 * @throws {SetUpError} what could not be set up; nothing runs any more then
 */
export async function startEverything(options: StartOptions): Promise<number> {
  const stateDir = options.stateDir ?? STATE_DIR;
  const { setUp } = options;
  const interrupt = listenForInterrupts();
  const unmade = failureOf(setUp);
  try {
    const given = await readRecipe({ file: options.recipeFile, preset: options.preset });
    const stack = await startStack({
      dataDir: path.join(stateDir, 'data'),
      binDir: setUp.places.binDir,
      binaries: setUp.tools,
      logDir: path.join(stateDir, 'logs'),
      signal: AbortSignal.any([interrupt.signal, unmade]),
      onNote: (sentence) => setUp.line(dim(sentence)),
      onUi: (uiUrl) => announceUi(setUp, uiUrl),
    });
    try {
      const code = await withStack(stack, given, { ...options, stateDir }, interrupt);
      if (interrupt.failure !== undefined) throw interrupt.failure;
      return code;
    } finally {
      await stack.stop();
    }
  } catch (error) {
    if (interrupt.failure !== undefined) throw interrupt.failure;
    if (interrupt.signal.aborted && isCutShort(error)) return EXIT.failed;
    if (unmade.aborted) throw unmade.reason;
    if (!(error instanceof UserError || error instanceof StackError)) throw error;
    await setUp.stop();
    console.error(error.message);
    return EXIT.failed;
  } finally {
    await setUp.stop();
  }
}

/** Fires when the set-up fails, with why. */
function failureOf(setUp: SetUpUnderWay): AbortSignal {
  const failed = new AbortController();
  setUp.done.catch((error: unknown) => failed.abort(error));
  return failed.signal;
}

/** Whether an error only says that something was not waited for. */
const isCutShort = (error: unknown): boolean =>
  error instanceof StackError ||
  error instanceof SetUpError ||
  (error instanceof Error && error.name === 'AbortError');

type Placed = StartOptions & { readonly stateDir: string };

async function withStack(
  stack: Stack,
  given: GivenRecipe,
  options: Placed,
  interrupt: Interrupt,
): Promise<number> {
  Object.assign(process.env, stack.environment, {
    LONGHAUL_TRAINER_PYTHON: options.setUp.places.python,
    LONGHAUL_DATA_DIR: stack.dataDir,
    // Nobody else would go on with the jobs of a worker that is closed with its terminal.
    LONGHAUL_ON_SHUTDOWN: 'stop',
  });
  // The user's key is for another server.
  delete process.env['TEMPORAL_API_KEY'];
  const config = loadConfig(process.env, ROOT);
  announce(options.setUp, stack, config);
  await setUpDone(options.setUp, stack, interrupt);
  const worker =
    stack.ownedBy === undefined
      ? startEmbeddedWorker(stack.dataDir, path.join(options.stateDir, 'logs'))
      : undefined;
  if (worker === undefined)
    write(dim(`Process ${String(stack.ownedBy)} runs the servers and a worker here already.`));
  interrupt.onSecond(() => worker?.kill());
  // The connection closes last: servers that end under a call of it would make that call try again.
  const stopAll = async (): Promise<void> => {
    if (worker !== undefined) await stopWorker(worker);
    await stack.stop({ jobSeconds: interrupt.isUrgent ? 0 : JOB_SECONDS });
  };
  try {
    return await withClient(config, (client) =>
      runAndWait(client, config, given, options, { stack, worker, interrupt }).finally(stopAll),
    );
  } finally {
    await stopAll();
  }
}

function announceUi({ line }: SetUpUnderWay, uiUrl: string): void {
  line(bold('\nServers'));
  line(`  Temporal UI  ${uiUrl}`);
}

function announce({ line }: SetUpUnderWay, stack: Stack, config: Config): void {
  line(`  S3           ${stack.s3Endpoint}  bucket ${stack.bucket}`);
  line(`  New run      ${newRunLink(config)}`);
  line(
    dim('               (the form of the Temporal UI, filled in; its input takes {} or a recipe as JSON)'),
  );
}

/** The start form of the UI, filled in for a run that there is not yet. */
const newRunLink = (config: Config): string => startFormLink(config, nameForLater('tiny', new Date()));

/** Waits for the rest of the set-up, and no longer than servers and user want to. */
async function setUpDone(setUp: SetUpUnderWay, stack: Stack, interrupt: Interrupt): Promise<void> {
  if (!setUp.isDone) setUp.line(dim('  A run begins when all of the set-up is there.'));
  const broken = stack.broken.then((why) => {
    throw new UserError(why);
  });
  await Promise.race([setUp.done, broken, interrupt.first]);
  interrupt.signal.throwIfAborted();
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
  options: Placed,
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
  const code = await Promise.race([broken, followCurrent(client, config, given, options, interrupt)]);
  if (!options.keep || interrupt.signal.aborted) return code;
  write(`\nThe Temporal UI stays up at ${stack.uiUrl}. Ctrl-C stops it.`);
  write(`  New run      ${newRunLink(config)}`);
  await Promise.race([broken, interrupt.first]);
  return code;
}

async function followCurrent(
  client: Client,
  config: Config,
  given: GivenRecipe,
  { isNew, stateDir }: Placed,
  interrupt: Interrupt,
): Promise<number> {
  const current = await currentRun(client, given, { stateDir, isNew, now: new Date() });
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
  /** Fires at the first SIGINT, SIGTERM, SIGHUP or SIGQUIT, or when something unforeseen fails. */
  readonly signal: AbortSignal;
  /** Resolves at the same moment. */
  readonly first: Promise<void>;
  /** What failed unforeseen, and made everything stop. */
  readonly failure: Error | undefined;
  /** Whether there was a second one. */
  readonly isUrgent: boolean;
  /** What a second one does. */
  onSecond(action: () => void): void;
}

/** A terminal sends Ctrl-C to all of its processes, and npm passes it on besides: what comes within so long is the same one. */
const SAME_MS = 500;

function listenForInterrupts(): Interrupt {
  const controller = new AbortController();
  let firstAt = 0;
  let failure: Error | undefined;
  let isUrgent = false;
  let second = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve());
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    process.on(signal, () => {
      if (!controller.signal.aborted) {
        firstAt = performance.now();
        controller.abort();
      } else if (performance.now() - firstAt > SAME_MS) {
        isUrgent = true;
        second();
      }
    });
  }
  // Whatever fails, what was started is stopped first.
  process.on('uncaughtException', (error) => {
    failure ??= error;
    controller.abort();
  });
  // A terminal that was closed takes no more output.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  return {
    signal: controller.signal,
    first,
    get failure() {
      return failure;
    },
    get isUrgent() {
      return isUrgent;
    },
    onSecond: (action) => {
      second = action;
    },
  };
}
