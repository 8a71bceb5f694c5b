/** A disk that takes what it is asked and never answers, as a share does whose server is gone. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Threads that a process's file system has where nobody says another number. */
const THREADS = 4;

/** A pipe without a writer: whoever opens it to read waits in the kernel. */
export class HungDisk {
  private readonly folder = mkdtempSync(join(tmpdir(), 'longhaul-hung-disk-'));
  private readonly pipe = join(this.folder, 'pipe');

  constructor() {
    execFileSync('mkfifo', [this.pipe]);
  }

  /** From now on every step of this process's file system waits, until `answer`: each of its threads does. */
  hang(): void {
    for (let thread = 0; thread < threads(); thread++)
      open(this.pipe, 'r').then(
        (handle) => handle.close(),
        () => undefined,
      );
  }

  /** Options of Node under which a process's file system hangs as soon as it listens for a message of its parent. */
  nodeOptions(): string {
    const code = `
      import { open } from 'node:fs';
      process.on('newListener', (event) => {
        if (event !== 'message') return;
        for (let thread = 0; thread < ${threads()}; thread++) open(${JSON.stringify(this.pipe)}, 'r', () => {});
      });`;
    return `--import data:text/javascript,${encodeURIComponent(code)}`;
  }

  /** Lets go of everybody who waits. */
  answer(): void {
    // Open for both: a pipe's opener for writing alone would wait for a reader.
    const writer = openSync(this.pipe, constants.O_RDWR | constants.O_NONBLOCK);
    closeSync(writer);
    rmSync(this.folder, { recursive: true });
  }
}

function threads(): number {
  return Number(process.env['UV_THREADPOOL_SIZE'] ?? THREADS);
}
