/** What ran: stages, attempts, where the time went, and the plan beside it. */
import { swatches } from '../charts/series.js';
import { timeline } from '../charts/timeline.js';
import type { TimeBar, TimePiece } from '../charts/timeline.js';
import { folded, gap, GAP_CELL, section, table } from '../elements.js';
import { count, duration, instant, orGap, scientific, secondsBetween } from '../format.js';
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import type { PlanRow, ReportAttempt, ReportData, ReportStage } from '../../data/report-data.js';

type Label = keyof NonNullable<ReportAttempt['seconds']>;

/** What seconds are spent on, in order, with the colour of each. */
const LABELS: readonly { readonly label: Label; readonly name: string; readonly series: number }[] = [
  { label: 'import', name: 'start and import', series: 0 },
  { label: 'load', name: 'load', series: 1 },
  { label: 'firstStep', name: 'first step', series: 6 },
  { label: 'step', name: 'steps', series: 2 },
  { label: 'save', name: 'save', series: 5 },
  { label: 'evaluate', name: 'evaluate', series: 3 },
  { label: 'export', name: 'export', series: 7 },
];
/** Time of a stage that no job accounts for: orchestration, queueing, and stages that run no job. */
const OUTSIDE = { name: 'outside a job', series: 4 };

function secondsOf(stage: ReportStage, label: Label): number {
  return stage.attempts.reduce((sum, attempt) => sum + (attempt.seconds?.[label] ?? 0), 0);
}

function wallSeconds(stage: ReportStage): number | null {
  return secondsBetween(stage.startedAt, stage.endedAt);
}

function piecesOf(stage: ReportStage, wall: number): TimePiece[] {
  const pieces = LABELS.map(({ label, name, series }) => ({
    series,
    what: name,
    seconds: secondsOf(stage, label),
  }));
  const inside = pieces.reduce((sum, piece) => sum + piece.seconds, 0);
  return [
    ...pieces,
    { series: OUTSIDE.series, what: OUTSIDE.name, seconds: Math.max(0, wall - inside) },
  ].filter((piece) => piece.seconds > 0);
}

function barsOf(data: ReportData): TimeBar[] {
  const starts = data.stages.flatMap((stage) => (stage.startedAt === null ? [] : [stage.startedAt])).sort();
  const origin = data.run.startedAt ?? starts[0] ?? null;
  return data.stages.flatMap((stage) => {
    const [start, wall] = [secondsBetween(origin, stage.startedAt), wallSeconds(stage)];
    if (start === null || wall === null) return [];
    return [
      {
        label: stage.label,
        startSeconds: Math.max(0, start),
        totalSeconds: wall,
        pieces: piecesOf(stage, wall),
      },
    ];
  });
}

function timelinePart(data: ReportData): Content {
  const bars = barsOf(data);
  if (bars.length === 0) return gap('Stage times');
  const used = new Set(bars.flatMap(({ pieces }) => pieces.map(({ what }) => what)));
  const looks = [...LABELS, OUTSIDE]
    .filter(({ name }) => used.has(name))
    .map(({ name, series }) => ({ label: name, index: series }));
  const description = bars.map(({ label, totalSeconds }) => `${label}: ${duration(totalSeconds)}`).join('; ');
  const drawing = timeline('Where the time of the run went', description, bars);
  return [swatches(looks), markup`<div class="scroll wide">${drawing}</div>`];
}

function secondsCell(stage: ReportStage): Content {
  const parts = LABELS.map(({ label, name }) => ({ name, seconds: secondsOf(stage, label) })).filter(
    ({ seconds }) => seconds >= 0.05,
  );
  if (parts.length === 0) return '–';
  return parts.map(({ name, seconds }) => `${name} ${duration(seconds)}`).join(', ');
}

function stageTable(stages: readonly ReportStage[]): Markup {
  const columns = [
    { name: 'Step' },
    { name: 'State' },
    { name: 'Started' },
    { name: 'Wall time', number: true },
    { name: 'Attempts', number: true },
    { name: 'Seconds inside jobs' },
    { name: 'Note' },
  ];
  const rows = stages.map((stage) => [
    stage.label,
    markup`<span class="state-${stage.state}">${stage.state}</span>`,
    stage.startedAt === null ? '–' : markup`<span class="unbroken">${instant(stage.startedAt)}</span>`,
    stage.endedAt === null ? '–' : orGap(wallSeconds(stage), duration),
    stage.attempts.length === 0 ? '–' : stage.attempts.length,
    secondsCell(stage),
    stage.note,
  ]);
  return table(columns, rows);
}

function attemptTable(stages: readonly ReportStage[]): Content {
  const rows = stages.flatMap((stage) =>
    stage.attempts.map((attempt) => [
      stage.label,
      attempt.epoch,
      attempt.class ?? attempt.result,
      attempt.step ?? '–',
      attempt.startedAt === null ? '–' : instant(attempt.startedAt),
      orGap(secondsBetween(attempt.startedAt, attempt.endedAt), duration),
      attempt.message,
    ]),
  );
  if (rows.length === 0) return gap('Attempts');
  const columns = [
    { name: 'Step' },
    { name: 'Attempt', number: true },
    { name: 'Ended as' },
    { name: 'At step', number: true },
    { name: 'Started' },
    { name: 'Duration', number: true },
    { name: 'Message' },
  ];
  return table(columns, rows);
}

/** The section. */
export function courseSection(data: ReportData): Markup {
  const { stages } = data;
  const content =
    stages.length === 0
      ? gap('Stages')
      : [timelinePart(data), stageTable(stages), folded('Every attempt', attemptTable(stages))];
  return section('course', 'What ran', content);
}

function pair(
  { planned, actual }: PlanRow['steps'],
  format: (value: number) => string,
  exact: boolean,
): Content[] {
  const ratio = planned !== null && actual !== null && planned > 0 ? actual / planned : null;
  const same = ratio !== null && Math.abs(ratio - 1) < 1e-9;
  const share = ratio === null || (exact && same) ? null : ` (${(ratio * 100).toFixed(0)} %)`;
  return [
    planned === null ? markup`<span class="gap">not planned</span>` : format(planned),
    actual === null ? GAP_CELL : markup`${format(actual)}<span class="interval">${share}</span>`,
  ];
}

/** Planned against actual. */
export function planSection(data: ReportData): Markup {
  const columns = [
    { name: 'Step' },
    ...['Steps', 'Tokens', 'FLOPs', 'Job time'].flatMap((name) => [
      { name: `${name}, planned`, number: true },
      { name: 'actual', number: true },
    ]),
  ];
  const rows = data.plan.map(({ label, steps, tokens, flops, seconds }) => [
    label,
    ...pair(steps, count, true),
    ...pair(tokens, count, true),
    ...pair(flops, (value) => scientific(value), false),
    ...pair(seconds, duration, false),
  ]);
  const explanation = markup`<p class="soft small">FLOPs of the model alone: recomputation is not counted. Actual FLOPs follow from the lengths of
    the documents that were read; planned time from the recipe’s own cost figures. In brackets: actual as a share of planned.</p>`;
  return section(
    'plan',
    'Planned and actual',
    rows.length === 0 ? gap('The plan') : [table(columns, rows), explanation],
  );
}
