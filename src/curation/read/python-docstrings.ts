/** The documentation inside Python sources, as Python itself finds it: a process that answers one source at a time. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CurationError } from '../errors.js';
import { splitLines } from './lines.js';
import type { ByteLine } from './lines.js';

/** What parses, in the trainer's folder: typed, formatted and tested as Python. */
const SCRIPT = fileURLToPath(
  new URL('../../../infra/trainer/longhaul_curation/docstrings.py', import.meta.url),
);
/** Longest time that one source may take. */
const DEADLINE_MS = 60_000;
/** Longest answer. Docstrings are shorter than their source, and in JSON at most six times as long. */
const MAX_ANSWER_BYTES = 128 * 2 ** 20;

const helloSchema = z.strictObject({ python: z.string() });
const answerSchema = z.union([
  z.strictObject({ docstrings: z.array(z.tuple([z.string().nullable(), z.string()])) }),
  z.strictObject({ problem: z.string() }),
]);
/** The docstrings of a source with the names of what they document (null: the module), or why there are none. */
export type Docstrings = z.infer<typeof answerSchema>;

/** A Python that parses sources. One that dies of a source is replaced for the next. */
export class DocstringParser {
  private constructor(
    private readonly interpreter: string,
    private python: PythonProcess,
    /** "3.11": what it takes for a docstring may change with it. */
    readonly version: string,
    private readonly deadlineMs: number,
  ) {}

  /**
   * Starts one.
   * @param interpreter path of a Python
   * @throws CurationError (user-error) when it can't be run.
   */
  static async open(interpreter: string, deadlineMs = DEADLINE_MS): Promise<DocstringParser> {
    const python = new PythonProcess(interpreter);
    const hello = helloSchema.safeParse(await python.next(deadlineMs));
    if (hello.success) return new DocstringParser(interpreter, python, hello.data.python, deadlineMs);
    await python.close();
    throw new CurationError(
      'user-error',
      `docstrings are what Python finds, and ${interpreter} can't be run: set LONGHAUL_TRAINER_PYTHON to a Python`,
    );
  }

  /** Parses one source. */
  async parse(source: string): Promise<Docstrings> {
    this.python.say(JSON.stringify({ source }));
    const answer = answerSchema.safeParse(await this.python.next(this.deadlineMs));
    if (answer.success) return answer.data;
    await this.python.close();
    this.python = new PythonProcess(this.interpreter);
    await this.python.next(this.deadlineMs);
    return { problem: `Python gave up on it, or took longer than ${this.deadlineMs / 1000} s` };
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.python.close();
  }
}

/** One process: a line in, a line out. */
class PythonProcess {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly lines: AsyncGenerator<ByteLine, void, undefined>;
  private readonly ended: Promise<unknown>;

  constructor(interpreter: string) {
    // -I and -S: the standard library alone, nothing of the environment or of the folder it runs in.
    this.child = spawn(interpreter, ['-I', '-S', '-W', 'ignore', SCRIPT], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.ended = once(this.child, 'close').catch(() => undefined);
    // A process that is gone shows in what it doesn't answer.
    this.child.stdin.on('error', () => undefined);
    this.lines = splitLines(this.child.stdout, MAX_ANSWER_BYTES);
  }

  say(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  /** The next line as JSON; undefined when it ends, says something else, or says nothing for so long. */
  async next(deadlineMs: number): Promise<unknown> {
    const late = new AbortController();
    const deadline = sleep(deadlineMs, undefined, { signal: late.signal }).catch(() => undefined);
    const line = await Promise.race([this.lines.next().catch(() => undefined), deadline]);
    late.abort();
    const value = line?.value ?? undefined;
    if (value === undefined || 'tooLong' in value) return undefined;
    try {
      return JSON.parse(Buffer.from(value.bytes).toString());
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
