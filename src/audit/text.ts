/** An audit as text for a terminal. Pure: the same audit always gives the same lines. */
import { durationText } from '../domain/run/status-markdown.js';
import { textTable, wrapText } from '../domain/lib/text-table.js';
import type { Audit, Check, StageNumerics } from './audit-data.js';
import { timeLines } from './time-text.js';
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
    timeLines(audit.accounting),
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
  const head = `  ${CHECK_MARKS[state]}  ${name.padEnd(13)}`;
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
  if (verdict === 'not-checked') return `– Not verified: nothing differs, as far as was checked.${but}`;
  return `✗ ${differences === 1 ? '1 difference' : `${differences} differences`}: this run is not what its ledger says.${but}`;
}
