/** Where the time and the money went, as a table: stages as rows, labels as columns. */
import { formatMoney } from '../domain/plan/text.js';
import { durationText } from '../domain/run/status-markdown.js';
import { textTable } from '../domain/lib/text-table.js';
import { SECOND_LABELS } from './audit-data.js';
import type { Accounting, LabelledSeconds, SecondLabel } from './audit-data.js';

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

/** Nothing, or too little to be printed. */
const NONE = '–';

/** The section, or nothing for a run that has not begun. */
export function timeLines(accounting: Accounting): string[] {
  const { stages, secondsWithoutDevices } = accounting;
  const outside =
    secondsWithoutDevices > 0 ? [`  Steps without devices took ${durationText(secondsWithoutDevices)}`] : [];
  const inside =
    stages.length === 0
      ? []
      : [...textTable(rowsOf(accounting), ['left', 'right'], '  '), ...below(accounting)];
  return inside.length + outside.length === 0 ? [] : ['Time and cost by label', ...inside, ...outside];
}

/** Seven labels always, and what nobody measured if there is any. */
function rowsOf({ stages, waitingSeconds, seconds, allSeconds, cost }: Accounting): string[][] {
  const labels = SECOND_LABELS.filter((label) => label !== 'other' || seconds.other > 0);
  const row = (name: string, cell: (label: SecondLabel) => string, all: string): string[] => [
    name,
    ...labels.map(cell),
    all,
  ];
  const times = (name: string, own: Partial<LabelledSeconds>): string[] =>
    row(name, (label) => time(own[label] ?? 0), time(sumOf(own)));
  return [
    row('', (label) => COLUMNS[label], 'all'),
    ...stages.map((stage) => times(stage.folder, stage.seconds)),
    ...(waitingSeconds < 1 ? [] : [times('between stages', { parked: waitingSeconds })]),
    times('all', seconds),
    row('share', (label) => share(seconds[label], allSeconds), ''),
    ...(cost === null ? [] : [row('cost', (label) => money(cost.byLabel[label]), money(cost.total))]),
  ];
}

function below({ goodput, goodputWhileHeld, cost }: Accounting): string[] {
  const rates =
    goodput === null || goodputWhileHeld === null
      ? []
      : [
          `  Goodput ${percent(goodput)} of all seconds, ${percent(goodputWhileHeld)} of those in which devices were held`,
        ];
  if (cost === null) return rates;
  const price = `${cost.gpus} × ${cost.gpu} at ${formatMoney(cost.pricePerGpuHour)} per device and hour`;
  return [...rates, `  Cost: ${price}, while a job holds them`];
}

function sumOf(seconds: Partial<LabelledSeconds>): number {
  return SECOND_LABELS.reduce((sum, label) => sum + (seconds[label] ?? 0), 0);
}

function time(seconds: number): string {
  return seconds < 0.05 ? NONE : durationText(seconds);
}

function money(dollars: number): string {
  if (dollars === 0) return NONE;
  return dollars < 0.005 ? '<$0.01' : formatMoney(dollars);
}

function share(part: number, whole: number): string {
  return time(part) === NONE || whole === 0 ? NONE : percent(part / whole);
}

function percent(part: number): string {
  return `${(part * 100).toFixed(1)} %`;
}
