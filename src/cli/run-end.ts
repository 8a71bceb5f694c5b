/** What is printed when a run is over, and the exit code it comes to. */
import path from 'node:path';
import type { Config } from '../config.js';
import type { RunEnd } from './follow.js';
import { copyReport } from './report-copy.js';
import { statusLines } from './run-text.js';
import { colored } from './run-view.js';

/** Exit codes of commands that follow a run. */
export const EXIT = { completed: 0, failed: 1, interrupted: 130 } as const;

/** Prints the summary, copies the report, and returns the exit code: 0 for a completed run only. */
export async function printRunEnd(options: {
  readonly config: Config;
  readonly run: string;
  readonly end: RunEnd;
  /** The repository: reports go to `.longhaul/runs` below it. */
  readonly root: string;
  readonly write: (line: string) => void;
}): Promise<number> {
  const { config, run, end, root, write } = options;
  if (end.state === 'left') return EXIT.interrupted;
  if (end.status !== undefined) {
    for (const line of statusLines(end.status, Date.now())) write(colored(line));
  }
  if (end.state !== 'completed') {
    if (end.status === undefined || end.status.problems.length === 0)
      for (const line of end.problems) write(line);
    // An abort ends the workflow as failed; the run's own state says what it was.
    const cancelled = end.state === 'cancelled' || end.status?.state === 'cancelled';
    write(`The run ${cancelled ? 'was cancelled' : 'failed'}.`);
    return EXIT.failed;
  }
  const reportUrl = end.status?.reportUrl ?? null;
  if (reportUrl === null) return EXIT.completed;
  const file = await copyReport(config, run, reportUrl, path.join(root, '.longhaul', 'runs'));
  write('');
  write(`Objects  ${end.status?.runUrl ?? ''}`);
  write(`Report   ${file}`);
  return EXIT.completed;
}
