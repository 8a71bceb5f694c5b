/** What a run waits for, as text for a terminal: a parked stage with all an operator needs to decide. Pure. */
import { FAILURES } from '../domain/attempt/failure-class.js';
import type { Parked, RunStatus } from '../domain/run/status.js';
import { REPAIR_COMMANDS } from '../domain/run/operator-actions.js';
import { STATE_MARKS } from '../domain/run/words.js';

/** Lines about what the run waits for; none when it waits for nobody. */
export function waitingLines(status: RunStatus): string[] {
  if (status.parked !== null) return parkedLines(status.run, status.parked);
  return status.waitingFor === null ? [] : [`  ${STATE_MARKS.paused} waits for ${status.waitingFor}`];
}

function parkedLines(run: string, parked: Parked): string[] {
  const { folder, class: failureClass, message, why, attempts, checkpoints, logTail, choices } = parked;
  const tried = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  return [
    `  ${STATE_MARKS.parked} ${folder} is parked after ${tried}: ${failureClass}`,
    ...indented(message),
    ...indented(why),
    ...(logTail.length === 0
      ? []
      : ['    Last lines of its log:', ...logTail.map((line) => `      ${line}`)]),
    ...checkpointLines(checkpoints),
    `    What mends ${failureClass} as a rule: ${FAILURES[failureClass].remedy}`,
    '    What can be done:',
    ...choices.map((choice) => `      ${choice}`),
    `    As commands: longhaul ${REPAIR_COMMANDS.join('|')} ${run} --reason "…" (longhaul retry --help tells the options)`,
  ];
}

function checkpointLines(checkpoints: readonly string[] | null): string[] {
  if (checkpoints === null)
    return ['    Which checkpoints there are is not known: a retry begins at the newest that the store has'];
  const [newest, ...older] = checkpoints;
  if (newest === undefined) return ['    There is no checkpoint: a retry begins at the start'];
  const others = older.length === 0 ? '' : `; or from ${older.join(', ')}`;
  return [`    A retry begins at checkpoint ${newest}${others}`];
}

function indented(text: string): string[] {
  return text.split('\n').map((line) => `    ${line}`);
}
