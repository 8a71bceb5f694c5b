/** A process that is not to outlive the one that started it, even where that is killed. */

/** The argument that asks for it. */
export const WITH_STARTER = '--with-starter';

/**
 * Lets this process end, as at SIGTERM, when its starter has ended: its standard input, a pipe that only the starter holds, closes
 * then, however the starter went.
 */
export function endWithStarter(): void {
  process.stdin.once('close', () => process.kill(process.pid, 'SIGTERM'));
  process.stdin.resume();
  // The pipe keeps nobody from ending.
  if ('unref' in process.stdin) process.stdin.unref();
}
