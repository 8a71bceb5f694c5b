/** A run's status as text for a terminal. Pure: the same status always gives the same lines. */
import { formatCount } from '../domain/recipe/quantities.js';
import { durationText } from '../domain/run/status-markdown.js';
import { commitsCheckpoints, currentStage } from '../domain/run/status.js';
import type { RunStatus, StageStatus } from '../domain/run/status.js';
import { STATE_MARKS, progressUnit } from '../domain/run/words.js';
import { textTable, wrapText } from '../domain/lib/text-table.js';
import { secondsSince } from '../domain/lib/time.js';
import { waitingLines } from './parked-text.js';

/** Most columns of a line that is broken into several. */
const COLUMNS = 100;

/** Every stage with its state and figures, the run above them. `columns`: where long sentences are broken at the latest. */
export function statusLines(status: RunStatus, now: number, columns = COLUMNS): string[] {
  // A parked stage says all that its problem says, and more.
  const problems = status.parked === null ? status.problems.flatMap(problemLines) : [];
  const warnings = warningsOf(status).flatMap((warning) => warningLines(warning, Math.min(columns, COLUMNS)));
  return [
    headline(status, now),
    ...stageTable(status, now),
    ...problems,
    ...warnings,
    ...waitingLines(status),
  ];
}

/** What should be known although nothing has failed, of the run and of the jobs that go on; one sentence each. */
export function warningsOf(status: RunStatus): string[] {
  const said = status.stages.flatMap(({ state, title, warning }) =>
    state !== 'running' || warning === undefined || warning === null ? [] : [`${title}: ${warning.text}`],
  );
  return [...said, ...status.warnings];
}

function warningLines(warning: string, columns: number): string[] {
  return wrapText(warning, columns - 4).map((line, index) => `  ${index === 0 ? '! ' : '  '}${line}`);
}

function headline({ run, state, startedAt, endedAt }: RunStatus, now: number): string {
  const seconds = ((endedAt === null ? now : Date.parse(endedAt)) - Date.parse(startedAt)) / 1000;
  return `${run}  ${state}  ${durationText(Math.max(0, seconds))}`;
}

function stageTable(status: RunStatus, now: number): string[] {
  const rows = status.stages.map((stage) => [
    `${STATE_MARKS[stage.state]} ${stage.title}`,
    stepsText(stage),
    tokensText(stage),
    lossText(stage),
    speedText(stage),
    timeText(stage, now),
    stage.state === 'running' || stage.state === 'waiting' ? attemptText(stage) : stage.note,
  ]);
  const lines = textTable(rows, ['left', 'right', 'right', 'right', 'right', 'right', 'left'], '  ');
  return status.stages.flatMap((stage, index) => {
    const saved = savedText(stage, now);
    return [lines[index] ?? '', ...(saved === '' ? [] : [`      ${saved}`])];
  });
}

/** What of a running stage is saved, and how much is not; empty where none is to be, and where it is not known. */
function savedText(stage: StageStatus, now: number): string {
  const checkpoint = checkpointOf(stage);
  if (checkpoint === undefined || checkpoint === null) return checkpointText(stage, now);
  const behind = (stage.step ?? 0) - checkpoint.step;
  const lag = `, ${behind.toLocaleString('en-US')} ${behind === 1 ? 'step' : 'steps'} behind`;
  return `newest ${checkpointText(stage, now)}${behind > 0 ? lag : ''}`;
}

/** Step and age of a running stage's newest checkpoint. */
function checkpointText(stage: StageStatus, now: number): string {
  const checkpoint = checkpointOf(stage);
  if (checkpoint === undefined) return '';
  if (checkpoint === null) return 'no checkpoint yet';
  const age = checkpoint.at === null ? '' : `, ${ageText(checkpoint.at, now)}`;
  return `checkpoint: step ${String(checkpoint.step)}${age}`;
}

function checkpointOf({ state, kind, checkpoint }: StageStatus): StageStatus['checkpoint'] {
  return state === 'running' && commitsCheckpoints(kind) ? checkpoint : undefined;
}

function ageText(at: string, now: number): string {
  const seconds = secondsSince(at, now);
  return seconds < 1 ? 'just now' : `${durationText(seconds)} ago`;
}

function stepsText({ kind, step, steps }: StageStatus): string {
  if (step === null || steps === null || steps === 0) return '';
  return `${progressUnit(kind)} ${String(step)}/${String(steps)}`;
}

function tokensText({ tokens }: StageStatus): string {
  return tokens === null || tokens === 0 ? '' : `${formatCount(tokens)} tokens`;
}

function lossText({ loss }: StageStatus): string {
  return loss === null ? '' : `loss ${loss.toFixed(3)}`;
}

function speedText({ state, tokensPerSecond }: StageStatus): string {
  if (state !== 'running' || tokensPerSecond === null) return '';
  return `${Math.round(tokensPerSecond).toLocaleString('en-US')} tokens/s`;
}

function timeText({ state, startedAt, endedAt, secondsLeft }: StageStatus, now: number): string {
  if (startedAt === null) return '';
  if (endedAt !== null) return durationText((Date.parse(endedAt) - Date.parse(startedAt)) / 1000);
  if (state !== 'running') return '';
  if (secondsLeft !== null) return `${durationText(secondsLeft)} left`;
  return durationText(Math.max(0, now - Date.parse(startedAt)) / 1000);
}

function attemptText({ attempts, note, state }: StageStatus): string {
  if (state === 'waiting') return note;
  return [attempts > 1 ? `attempt ${String(attempts)}` : '', note].filter((part) => part !== '').join(', ');
}

function problemLines(problem: string): string[] {
  return problem.split('\n').map((line, index) => `  ${index === 0 ? STATE_MARKS.failed : ' '} ${line}`);
}

/** The stage under way in one line, for output that is not a terminal; undefined when nothing runs. */
export function progressLine(status: RunStatus, now: number): string | undefined {
  const stage = currentStage(status);
  if (stage?.state !== 'running') return undefined;
  const parts = [
    stepsText(stage),
    tokensText(stage),
    lossText(stage),
    speedText(stage),
    timeText(stage, now),
  ];
  const known = [...parts, attemptText(stage), checkpointText(stage, now)].filter((part) => part !== '');
  return [stage.title, ...known].join('  ');
}

/** What of that line tells of progress: all but what changes with time alone. */
export function progressMade(status: RunStatus): string {
  const stage = currentStage(status);
  if (stage === undefined) return '';
  return [stage.folder, stepsText(stage), tokensText(stage), lossText(stage), attemptText(stage)].join('  ');
}

/** What changed between two statuses, one line per stage that began or ended. */
export function transitionLines(before: RunStatus | undefined, after: RunStatus, now: number): string[] {
  const states = new Map(before?.stages.map((stage) => [stage.folder, stage.state]));
  return after.stages
    .filter((stage) => stage.state !== 'waiting' && stage.state !== states.get(stage.folder))
    .map((stage) => transitionLine(stage, now));
}

function transitionLine(stage: StageStatus, now: number): string {
  if (stage.state === 'running') return `${STATE_MARKS.running} ${stage.title}`;
  const parts = [tokensText(stage), lossText(stage), timeText(stage, now), stage.note];
  const known = parts.filter((part) => part !== '');
  return [`${STATE_MARKS[stage.state]} ${stage.title}: ${stage.state}`, ...known].join('  ');
}
