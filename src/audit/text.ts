/** An audit as text for a terminal. Pure: the same audit always gives the same lines. */
import { formatMoney } from '../domain/plan-text.js';
import { durationText } from '../domain/status-markdown.js';
import { textTable, wrapText } from '../domain/text-table.js';
import { SECOND_LABELS } from './audit-data.js';
import type { Accounting, Audit, Check, SecondLabel, StageNumerics } from './audit-data.js';
import { timelineRows } from './timeline-text.js';

/** How much is printed. */
export interface TextOptions {
  /** Every attempt on a line of its own. */
  readonly all: boolean;
  /** Characters per line. */
  readonly width: number;
}

/** Everything an auditor reads, the verdict last. */
export function auditLines(audit: Audit, options: TextOptions): string[] {
  const sections = [
    headline(audit),
    ['Timeline, UTC', ...timelineLines(audit, options)],
    accountingLines(audit.accounting),
    numericsLines(audit.numerics),
    ['Checks', ...audit.checks.flatMap((check) => checkLines(check, options.width))],
    [verdictLine(audit)],
  ];
  return sections
    .filter((lines) => lines.length > 0)
    .flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]));
}

function headline({
  run,
  runUrl,
  state,
  openedAt,
  endedAt,
  recipeDigest,
  auditedAt,
  level,
}: Audit): string[] {
  const seconds = openedAt === null ? null : (Date.parse(endedAt ?? auditedAt) - Date.parse(openedAt)) / 1000;
  const time = openedAt === null ? '' : `, ${openedAt}${endedAt === null ? '' : ` to ${endedAt}`}`;
  const rows = [
    ['Run', run],
    ['Objects', runUrl],
    ['State', `${state}${seconds === null ? '' : `, ${durationText(Math.max(0, seconds))}`}${time}`],
    ['Recipe', recipeDigest ?? 'can’t be read'],
    ['Audited', `${auditedAt}${level === 'quick' ? ', quick: bulk data by size and checksum only' : ''}`],
  ];
  return textTable(rows, ['left']);
}

function timelineLines(audit: Audit, { all, width }: TextOptions): string[] {
  const rows = timelineRows(audit.timeline, all);
  // The day stands over the times, which come after the mark.
  const heads = textTable(
    rows.map(({ mark, time, subject }) => [mark, time, subject]),
    ['left'],
    '  ',
  );
  const indent = Math.max(0, ...heads.map((head) => head.length)) + 2;
  let day = '';
  return rows.flatMap((row, index) => {
    const head = (heads[index] ?? '').padEnd(indent);
    const text = wrapText(row.text, Math.max(40, width - indent));
    const lines = text.map((line, number) => ((number === 0 ? head : ' '.repeat(indent)) + line).trimEnd());
    if (row.day === day) return lines;
    day = row.day;
    return [`     ${day}`, ...lines];
  });
}

const COLUMNS: Readonly<Record<SecondLabel, string>> = {
  useful: 'useful',
  replayed: 'replayed',
  queued: 'queued',
  starting: 'starting',
  saving: 'saving',
  hung: 'hung',
  parked: 'parked',
  other: 'unmeasured',
};

/** Labels as columns, stages as rows; what nobody spent a second on is left out, but for the seven that are promised. */
function accountingLines(accounting: Accounting): string[] {
  const { stages, seconds, allSeconds, goodput, goodputWhileHeld, secondsWithoutDevices, cost } = accounting;
  const outside =
    secondsWithoutDevices > 0 ? [`  Steps without devices took ${durationText(secondsWithoutDevices)}`] : [];
  if (stages.length === 0) return outside.length === 0 ? [] : ['Time', ...outside];
  const labels = SECOND_LABELS.filter((label) => label !== 'other' || seconds.other > 0);
  const row = (name: string, cell: (label: SecondLabel) => string, all: string): string[] => [
    name,
    ...labels.map(cell),
    all,
  ];
  const time = (value: number): string => (value === 0 ? '–' : durationText(value));
  const sum = (values: Accounting['seconds']): number =>
    SECOND_LABELS.reduce((all, label) => all + values[label], 0);
  const rows = [
    row('', (label) => COLUMNS[label], 'all'),
    ...stages.map(({ folder, seconds: own }) => row(folder, (label) => time(own[label]), time(sum(own)))),
    ...(accounting.waitingSeconds >= 1
      ? [
          row(
            'between stages',
            (label) => (label === 'parked' ? time(accounting.waitingSeconds) : '–'),
            time(accounting.waitingSeconds),
          ),
        ]
      : []),
    row('all', (label) => time(seconds[label]), time(allSeconds)),
    row('share', (label) => percent(seconds[label] / Math.max(allSeconds, Number.MIN_VALUE)), ''),
    ...(cost === null
      ? []
      : [
          row(
            'cost',
            (label) => (cost.byLabel[label] === 0 ? '–' : formatMoney(cost.byLabel[label])),
            formatMoney(cost.total),
          ),
        ]),
  ];
  return [
    'Time and cost by label',
    ...textTable(rows, ['left', 'right'], '  '),
    ...goodputLines(goodput, goodputWhileHeld),
    ...(cost === null
      ? []
      : [
          `  Cost: ${cost.gpus} × ${cost.gpu} at ${formatMoney(cost.pricePerGpuHour)} per device and hour while a job holds them`,
        ]),
    ...outside,
  ];
}

function goodputLines(goodput: number | null, whileHeld: number | null): string[] {
  if (goodput === null || whileHeld === null) return [];
  return [
    `  Goodput ${percent(goodput)} of all seconds, ${percent(whileHeld)} of those in which devices were held`,
  ];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function numericsLines(numerics: readonly StageNumerics[]): string[] {
  if (numerics.length === 0) return [];
  const rows = numerics.map((stage) => [stage.identical ? '✓' : '✗', stage.folder, numericsText(stage)]);
  return ['Numerics fingerprints', ...textTable(rows, ['left'], '  ')];
}

function numericsText({ attempts, unknown, identical, differing }: StageNumerics): string {
  const silent = unknown === 0 ? '' : `; ${unknown === 1 ? '1 attempt' : `${unknown} attempts`} left none`;
  if (identical) return `identical (${attempts === 1 ? '1 attempt' : `${attempts} attempts`})${silent}`;
  const named = differing.map(({ epoch, fields }) => `attempt ${epoch} differed: ${fields.join('; ')}`);
  return `${named.join('. ')}${silent}`;
}

const CHECK_MARKS: Readonly<Record<Check['state'], string>> = {
  verified: '✓',
  different: '✗',
  'not-checked': '–',
};

function checkLines({ name, summary, state, differences, notes }: Check, width: number): string[] {
  const head = `  ${CHECK_MARKS[state]} ${name.padEnd(12)}`;
  const text = wrapText(summary, Math.max(40, width - head.length));
  return [
    ...text.map((line, index) => (index === 0 ? head : ' '.repeat(head.length)) + line),
    ...differences.flatMap(({ object, message }) => [
      `      ${object}`,
      ...wrapText(message, Math.max(40, width - 8)).map((line) => `        ${line}`),
    ]),
    ...notes.flatMap((note) =>
      wrapText(`note: ${note}`, Math.max(40, width - 6)).map(
        (line, index) => `      ${index === 0 ? '' : '  '}${line}`,
      ),
    ),
  ];
}

function verdictLine({ checks, verdict }: Audit): string {
  const differences = checks.reduce((sum, check) => sum + check.differences.length, 0);
  const skipped = checks.filter(({ state }) => state === 'not-checked').map(({ name }) => name);
  const but = skipped.length === 0 ? '' : ` Not checked: ${skipped.join(', ')}.`;
  if (verdict === 'verified') return `✓ Verified: nothing differs.${but}`;
  return `✗ ${differences === 1 ? '1 difference' : `${differences} differences`}: this run is not what its ledger says.${but}`;
}
