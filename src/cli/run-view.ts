/** Shows a run as it goes: a table that is redrawn in place on a terminal, plain lines anywhere else. */
import { createLogUpdate } from 'log-update';
import { styleText } from 'node:util';
import { waitingLines } from './parked-text.js';
import { progressLine, progressMade, statusLines, transitionLines, warningsOf } from './run-text.js';
import { STATE_MARKS } from '../domain/run/words.js';
import type { RunStatus } from '../domain/run/status.js';
import { printable } from '../domain/lib/text.js';

/** Shows statuses as they come. */
export interface RunView {
  /** undefined: the run does not answer; `isHeld`: because Temporal's own pause holds it. */
  show(status: RunStatus | undefined, isHeld?: boolean): void;
  /** Leaves the terminal as the user expects it. */
  close(): void;
}

/** Where a view writes. */
export type Output = NodeJS.WriteStream;

const PLAIN_EVERY_MS = 5000;

/** Why there is nothing new to show. */
const silenceLine = (isHeld: boolean): string =>
  isHeld
    ? '  paused by Temporal’s own pause: “Unpause Workflow” in the Temporal UI lets it go on …'
    : '  waiting for a worker to answer …';

/** The view that suits the output. */
export function createRunView(out: Output = process.stdout): RunView {
  return out.isTTY ? liveView(out) : plainView((line) => out.write(`${printable(line)}\n`));
}

function liveView(out: Output): RunView {
  const draw = createLogUpdate(out);
  let last: RunStatus | undefined;
  return {
    show(status, isHeld = false) {
      last = status ?? last;
      const width = Math.max(20, out.columns - 1);
      const lines = last === undefined ? [] : statusLines(last, Date.now(), width);
      const hint = status === undefined ? [silenceLine(isHeld)] : [];
      draw([...lines, ...hint].map((line) => colored(cut(line, width))).join('\n'));
    },
    close: () => draw.clear(),
  };
}

function cut(line: string, width: number): string {
  const characters = Array.from(line);
  return characters.length <= width ? line : `${characters.slice(0, width - 1).join('')}…`;
}

/** Colours a line by the mark it begins with. What it says may come from anybody: nothing in it moves the cursor. */
export function colored(
  text: string,
  on = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '',
): string {
  const line = printable(text);
  if (!on) return line;
  const mark = line.trimStart()[0];
  if (mark === STATE_MARKS.done) return styleText('green', line);
  if (mark === STATE_MARKS.failed) return styleText('red', line);
  if (mark === STATE_MARKS.parked) return styleText('yellow', line);
  if (mark === STATE_MARKS.running) return styleText('bold', line);
  return mark === STATE_MARKS.waiting ? styleText('dim', line) : line;
}

/**
 * A view of lines: one for each stage that begins or ends, one for each new warning, and one every few seconds for the stage under way
 * while it advances.
 */
export function plainView(write: (line: string) => void, now: () => number = Date.now): RunView {
  let last: RunStatus | undefined;
  let lastProgress = Number.NEGATIVE_INFINITY;
  let lastMade = '';
  let silence: string | undefined;
  return {
    show(status, isHeld = false) {
      if (status === undefined) {
        const line = silenceLine(isHeld);
        if (silence !== line) write(line);
        silence = line;
        return;
      }
      silence = undefined;
      for (const line of transitionLines(last, status, now())) write(`  ${line}`);
      const known = last === undefined ? [] : warningsOf(last);
      for (const warning of warningsOf(status)) if (!known.includes(warning)) write(`  ! ${warning}`);
      if (status.state !== last?.state) for (const line of waitingLines(status)) write(line);
      const progress = progressLine(status, now());
      const made = progressMade(status);
      if (progress !== undefined && made !== lastMade && now() - lastProgress >= PLAIN_EVERY_MS) {
        lastProgress = now();
        lastMade = made;
        write(`    ${progress}`);
      }
      last = status;
    },
    close: () => undefined,
  };
}
