/** A run's status, and a stage's progress, as markdown: the current details that the Temporal UI shows on a workflow's page. */
import { FAILURES } from '../attempt/failure-class.js';
import { markdownText, printable } from '../lib/text.js';
import { instantText } from '../lib/time.js';
import type { AttemptProgress, Warning } from './progress.js';
import { commitsCheckpoints, seenOf } from './status.js';
import { STATE_MARKS, progressUnit } from './words.js';
import type { Parked, RunStatus, StageCheckpoint, StageKind, StageStatus } from './status.js';

/** The status as a markdown table of stages; above it where everything is, and what is wrong. The UI may cut the last lines. */
export function statusMarkdown(status: RunStatus): string {
  return [
    `**${status.run}** · preset \`${status.preset}\` · **${status.state}** · below \`${status.runUrl}\``,
    ...(status.waitingFor === null ? [] : [`Waiting for: ${markdownText(status.waitingFor)}`]),
    ...(status.parked === null ? status.problems.map(quoted) : [parkedMarkdown(status.parked)]),
    ...status.warnings.map((warning) => quoted(`Warning: ${warning}`)),
    ...status.stages.filter(({ state }) => state === 'running').flatMap(runningMarkdown),
    [
      '| | Stage | State | Progress | Tokens | Loss | Time | |',
      '|---|---|---|---|---|---|---|---|',
      ...status.stages.map(stageRow),
    ].join('\n'),
  ].join('\n\n');
}

/** What is saved of a stage under way, and what its job has to say: in full, where a table would be cut. */
function runningMarkdown({ title, kind, checkpoint, warning }: StageStatus): string[] {
  const saved = commitsCheckpoints(kind) && checkpoint !== undefined ? [checkpointText(checkpoint)] : [];
  return [
    ...saved.map((text) => `${markdownText(title)} · ${text}`),
    ...(warning === undefined || warning === null ? [] : [warningMarkdown(warning)]),
  ];
}

/** A stage's own page: where its running attempt is. */
export function progressMarkdown(title: string, kind: StageKind, progress: AttemptProgress): string {
  const { epoch, phase, step, steps, tokens, loss, commit } = progress;
  const { checkpoint, warning } = seenOf(progress);
  const id = commit === null ? '' : `, \`${commit}\``;
  return [
    `**${title}** · attempt ${epoch} · ${markdownText(phase)}`,
    `${progressUnit(kind) === 'sample' ? 'Sample' : 'Step'} ${step}${steps === null ? '' : ` of ${steps}`}, ${tokens.toLocaleString('en-US')} tokens` +
      (loss === null ? '' : `, loss ${loss.toFixed(3)}`),
    ...(commitsCheckpoints(kind) && checkpoint !== undefined ? [`${checkpointText(checkpoint)}${id}`] : []),
    ...(warning === undefined || warning === null ? [] : [warningMarkdown(warning)]),
  ].join('\n\n');
}

/** When the newest checkpoint was made, and not how old it is: nobody writes the page anew as time goes by. */
function checkpointText(checkpoint: StageCheckpoint | null): string {
  if (checkpoint === null) return 'No checkpoint yet';
  const { step, at } = checkpoint;
  return `Newest checkpoint: step ${step}${at === null ? '' : `, ${instantText(at)}`}`;
}

/** A warning, and when it was said. */
export function warningMarkdown({ text, at }: Warning): string {
  return quoted(`Warning, ${instantText(at)}: ${text}`);
}

function quoted(text: string): string {
  return text
    .split('\n')
    .map((line) => `> ${markdownText(line)}`)
    .join('\n');
}

/** What failed, in which class, the job's last lines, and what can be done. */
function parkedMarkdown(parked: Parked): string {
  const { folder, message, why, attempts, checkpoints, logTail, choices } = parked;
  const log = printable(logTail.join('\n')).trim().replaceAll('```', "'''");
  return [
    `**${folder} is parked: ${parked.class}**`,
    quoted(message),
    `Why it was not tried again: ${markdownText(why)}. Attempts: ${attempts}. Newest checkpoint: ${newestText(checkpoints)}.`,
    ...(log === '' ? [] : [`Last lines of its log:\n\n\`\`\`\n${log}\n\`\`\``]),
    `What mends ${parked.class} as a rule: ${FAILURES[parked.class].remedy}.`,
    'What can be done (Send an Update, or `longhaul --help`):',
    choices.map((choice) => `- ${choice}`).join('\n'),
  ].join('\n\n');
}

function newestText(checkpoints: Parked['checkpoints']): string {
  if (checkpoints === null) return 'not known, the store could not be asked';
  return checkpoints[0] === undefined ? 'none yet' : `\`${checkpoints[0]}\``;
}

function stageRow(stage: StageStatus): string {
  const cells = [
    STATE_MARKS[stage.state],
    stage.title,
    stage.attempts > 1 ? `${stage.state}, attempt ${stage.attempts}` : stage.state,
    progressText(stage),
    stage.tokens === null || stage.tokens === 0 ? '' : stage.tokens.toLocaleString('en-US'),
    stage.loss === null ? '' : stage.loss.toFixed(3),
    timeText(stage),
    stage.note,
  ];
  return `| ${cells.map(markdownText).join(' | ')} |`;
}

function progressText({ step, steps }: StageStatus): string {
  if (step === null || steps === null || steps === 0) return '';
  return `${step} / ${steps} (${Math.floor((100 * step) / steps)} %)`;
}

function timeText({ startedAt, endedAt, secondsLeft, state }: StageStatus): string {
  if (startedAt !== null && endedAt !== null) {
    return durationText((Date.parse(endedAt) - Date.parse(startedAt)) / 1000);
  }
  return state === 'running' && secondsLeft !== null ? `${durationText(secondsLeft)} left` : '';
}

/** `12 s`, `3 min 20 s`, `5 h 12 min`, `2 d 3 h`. */
export function durationText(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${seconds < 10 ? seconds.toFixed(1) : whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}
