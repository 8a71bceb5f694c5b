/** A plan as text for a terminal, the Temporal UI and summaries. */
import type { EvaluationPlan, PartPlan, Plan, StagePlan } from './types.js';
import { formatBytes, formatCount, formatLength, formatScientific } from '../recipe/quantities.js';
import { textTable, wrapText } from '../lib/text-table.js';

const WIDTH = 100;

/** The plan of a recipe as text, at most about 100 columns wide. Ends without a line break. */
export function formatPlan(plan: Plan): string {
  const sections = [
    heading(plan),
    section('Steps', stepLines(plan)),
    section('Stages', stageTable(plan)),
    section('Data, as share, rows and tokens', dataTable(plan)),
    section('Learning rate', scheduleTable(plan)),
    section(`Compute on ${plan.gpu}`, computeTable(plan)),
    section('Checkpoints (float32 weights and two Adam moments)', checkpointTable(plan)),
    section('Storage when the run has ended', storageTable(plan)),
    section(preemptionTitle(plan), preemptionTable(plan)),
    section(
      'Worth knowing',
      plan.notices.flatMap(({ path, message }) => bullet(`${path}: ${message}`)),
    ),
    section('Where the paper leaves a choice', readingLines(plan)),
  ];
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

function heading(plan: Plan): string[] {
  const { base } = plan;
  return [
    `Recipe ${plan.recipe}  (preset ${plan.preset}, ${plan.digest.slice(0, 19)})`,
    `Base   ${base.model}: ${formatCount(base.parameters.total)} parameters, ${formatLength(base.lengthTokens)} tokens, RoPE base ${formatScientific(base.ropeTheta)}`,
    `Total  ${totalLine(plan)}`,
  ];
}

function totalLine({ total, gpus }: Plan): string {
  const clock = gpus > 1 ? `, ${formatHours(total.wallHours)} on ${gpus}` : '';
  return `${formatCount(total.trainedTokens)} tokens trained, ${formatFlops(total.flops)}, ${formatHours(total.gpuHours)} of one device${clock}, ${formatMoney(total.cost)}`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines];
}

function bullet(text: string): string[] {
  return wrapText(text, WIDTH - 4).map((line, index) => `${index === 0 ? '  - ' : '    '}${line}`);
}

function stepLines({ steps }: Plan): string[] {
  return textTable(
    steps.map(({ folder, title }) => [folder, title]),
    ['left'],
    '  ',
  );
}

/** A table with a column per stage. */
function byStage(plan: Plan, rows: readonly (readonly [string, (stage: StagePlan) => string])[]): string[] {
  const head = ['', ...plan.stages.map((stage) => stage.name)];
  const body = rows.map(([label, cell]) => [label, ...plan.stages.map(cell)]);
  return textTable([head, ...body], ['left', 'right'], '  ');
}

function stageTable(plan: Plan): string[] {
  return byStage(plan, [
    ['starts from', (stage) => stage.from],
    ['Adam moments', (stage) => (stage.moments === 'carry' ? 'carried' : 'fresh')],
    ['loss on', (stage) => (stage.kind === 'sft' ? 'assistant' : 'all tokens')],
    ['sequence length', (stage) => formatLength(stage.sequenceLengthTokens)],
    ['documents see each other', (stage) => (stage.documentMasking ? 'no' : 'yes')],
    ['RoPE base', (stage) => formatScientific(stage.ropeTheta)],
    [
      '  dynamic NTK suggests',
      (stage) => (stage.bump === null ? '–' : formatScientific(round3(stage.bump.suggestion))),
    ],
    ['  for length times', (stage) => (stage.bump === null ? '–' : String(round3(stage.bump.lengthRatio)))],
    ['steps', (stage) => grouped(stage.steps)],
    ['tokens', (stage) => formatCount(stage.tokens)],
    ['  in full', (stage) => grouped(stage.tokens)],
    ['sequences', (stage) => grouped(stage.rows)],
    ['global batch, tokens', (stage) => grouped(stage.globalBatchTokens)],
    ['  sequences', (stage) => grouped(stage.rowsPerStep)],
  ]);
}

/** One line per domain and length, three columns per stage. */
function dataTable({ stages }: Plan): string[] {
  const head = ['', '', ...stages.flatMap((stage) => [stage.name, '', ''])];
  const rows = kindsOfRows(stages).map((kind) => [
    kind.domain,
    lengthOf(kind.lengthTokens),
    ...stages.flatMap((stage) => {
      const part = stage.parts.find((one) => partKey(one) === partKey(kind));
      return part === undefined
        ? ['', '', '']
        : [percent(part.share), grouped(part.rows), formatCount(part.tokens)];
    }),
  ]);
  return textTable([head, ...rows], ['left', 'left', 'right'], '  ');
}

/** Every domain and length of the stages: domains in the order in which they are first named, lengths ascending. */
function kindsOfRows(stages: readonly StagePlan[]): PartPlan[] {
  const kinds = new Map(stages.flatMap(({ parts }) => parts).map((part) => [partKey(part), part]));
  const domains = [...new Set([...kinds.values()].map(({ domain }) => domain))];
  const place = (part: PartPlan) => domains.indexOf(part.domain);
  return [...kinds.values()].sort(
    (a, b) => place(a) - place(b) || (a.lengthTokens ?? 0) - (b.lengthTokens ?? 0),
  );
}

function partKey(part: { readonly domain: string; readonly lengthTokens: number | null }): string {
  return `${part.domain} ${part.lengthTokens ?? ''}`;
}

function lengthOf(lengthTokens: number | null): string {
  return lengthTokens === null ? 'packed' : `at ${formatLength(lengthTokens)}`;
}

function scheduleTable({ stages }: Plan): string[] {
  const rows = stages.map((stage) => {
    const points = stage.schedule.map(
      ({ step, learningRate }) => `${formatScientific(round3(learningRate))} at step ${grouped(step)}`,
    );
    return [stage.name, points.join(', ')];
  });
  return textTable(rows, ['left'], '  ');
}

function computeTable(plan: Plan): string[] {
  const head = ['', 'FLOPs', 'per token', 'attention', 'MFU', 'device time', `on ${plan.gpus}`, 'cost'];
  const rows = [
    ...plan.stages.map((stage) => computeRow(stage.name, stage.effort, stage.tokens, stage.flopsPerToken)),
    ...plan.evaluations.map((evaluation) =>
      computeRow(evaluation.name, evaluation.effort, evaluation.tokens),
    ),
    ['total', formatFlops(plan.total.flops), '', '', '', ...timeAndMoney(plan.total)],
  ];
  const samples = plan.evaluations.map((evaluation) => `  ${evaluation.name}: ${evaluationLine(evaluation)}`);
  const price =
    plan.pricePerGpuHour === 0 ? [] : [`  at ${formatMoney(plan.pricePerGpuHour)} per device and hour`];
  return [...textTable([head, ...rows], ['left', 'right'], '  '), ...price, ...samples];
}

function computeRow(
  name: string,
  effort: StagePlan['effort'],
  tokens: number,
  perToken?: StagePlan['flopsPerToken'],
): string[] {
  const attention =
    perToken === undefined ? '' : percent(perToken.attention / (perToken.attention + perToken.matmul));
  const each = tokens === 0 ? '' : formatFlops(effort.flops / tokens);
  return [
    name,
    formatFlops(effort.flops),
    each,
    attention,
    `${(effort.mfu * 100).toFixed(1)} %`,
    ...timeAndMoney(effort),
  ];
}

function timeAndMoney(effort: {
  readonly gpuHours: number;
  readonly wallHours: number;
  readonly cost: number;
}): string[] {
  return [formatHours(effort.gpuHours), formatHours(effort.wallHours), formatMoney(effort.cost)];
}

function evaluationLine({ targets, tasks, samples, tokens }: EvaluationPlan): string {
  return `${targets.length} models × ${tasks.join(', ')}: ${grouped(samples)} samples, ${formatCount(tokens)} tokens`;
}

function checkpointTable(plan: Plan): string[] {
  const rows = plan.stages.map(
    ({ name, checkpoints: { everySteps, auto, count, kept, bytesEach, bytesWritten, bytesKept } }) => [
      name,
      `${auto ? 'auto, about ' : ''}${grouped(everySteps)} ${everySteps === 1 ? 'step' : 'steps'}`,
      grouped(count),
      formatBytes(bytesEach),
      formatBytes(bytesWritten),
      grouped(kept),
      formatBytes(bytesKept),
    ],
  );
  const { checkpoints, checkpointBytesWritten, checkpointBytesKept } = plan.total;
  const kept = plan.stages.reduce((sum, stage) => sum + stage.checkpoints.kept, 0);
  const total = [
    'total',
    '',
    grouped(checkpoints),
    '',
    formatBytes(checkpointBytesWritten),
    grouped(kept),
    formatBytes(checkpointBytesKept),
  ];
  return textTable(
    [['', 'every', 'count', 'each', 'written', 'kept', 'at the end'], ...rows, total],
    ['left', 'right'],
    '  ',
  );
}

/** What stays in the store, per stage; held-out datasets are no stage's. */
function storageTable({ stages, total }: Plan): string[] {
  const heldOut = total.datasetBytes - stages.reduce((sum, stage) => sum + stage.datasetBytes, 0);
  const rows = stages.map(({ name, checkpoints, exportBytes, datasetBytes }) => [
    name,
    formatBytes(checkpoints.bytesKept),
    formatBytes(exportBytes),
    formatBytes(datasetBytes),
    formatBytes(checkpoints.bytesKept + exportBytes + datasetBytes),
  ]);
  const more = heldOut === 0 ? [] : [['held out', '', '', formatBytes(heldOut), formatBytes(heldOut)]];
  const sum = [
    'total',
    formatBytes(total.checkpointBytesKept),
    formatBytes(total.exportBytes),
    formatBytes(total.datasetBytes),
    formatBytes(total.storedBytes),
  ];
  return textTable(
    [['', 'checkpoints', 'export', 'dataset', 'together'], ...rows, ...more, sum],
    ['left', 'right'],
    '  ',
  );
}

function preemptionTitle({ interruptions: { meanHoursBetween, relaunchSeconds } }: Plan): string {
  const between = formatHours(meanHoursBetween);
  return `Preemptions, if there is one every ${between} and ${formatSeconds(relaunchSeconds)} pass until steps go on`;
}

/** Per stage: what a preemption undoes at most, and the share of the time that lasts. */
function preemptionTable(plan: Plan): string[] {
  const rows = byStage(plan, [
    ['a step takes', ({ preemption }) => formatSeconds(preemption.stepSeconds)],
    ['a save takes', ({ preemption }) => formatSeconds(preemption.saveSeconds)],
    [
      `with ${formatSeconds(plan.graceSeconds)} of grace a save`,
      ({ preemption }) => (preemption.graceFits ? 'fits' : 'does not fit'),
    ],
    [
      'lost with grace for a save, at most',
      ({ preemption }) => `the step, ${formatSeconds(preemption.mostLostWithGraceSeconds)}`,
    ],
    ['  goodput', ({ preemption }) => percent(preemption.goodputWithGrace)],
    ['lost without, at most', ({ preemption }) => formatSeconds(preemption.mostLostWithoutGraceSeconds)],
    ['  goodput', ({ preemption }) => percent(preemption.goodputWithoutGrace)],
    ['best interval (Young/Daly)', ({ preemption }) => stepCount(preemption.bestEverySteps)],
    ['  goodput without grace', ({ preemption }) => percent(preemption.bestGoodputWithoutGrace)],
  ]);
  return [
    ...rows,
    '  Assumed (cost.interruptions), not measured; checkpoints.everySteps "auto" goes by what a run measures',
  ];
}

function stepCount(steps: number): string {
  return steps === 1 ? '1 step' : `${grouped(steps)} steps`;
}

function formatSeconds(seconds: number): string {
  return formatHours(seconds / 3600);
}

function readingLines({ readings }: Plan): string[] {
  return readings.flatMap(({ question, taken, otherwise, overrides }) => [
    ...bullet(question),
    ...field('taken', taken),
    ...field('otherwise', otherwise),
    ...(overrides === undefined ? [] : field('to take it', spacedJson(overrides))),
  ]);
}

/** JSON on one line, with blanks where it may be broken: pasted from several lines it is still valid. */
function spacedJson(value: unknown): string {
  return JSON.stringify(value, undefined, 1).replace(/\n\s*/g, ' ');
}

function field(name: string, text: string): string[] {
  const label = `    ${name}: `;
  return wrapText(text, WIDTH - label.length).map(
    (line, index) => (index === 0 ? label : ' '.repeat(label.length)) + line,
  );
}

/** Time for people: "34 s", "12 min", "7.9 h", "2,197 h". */
export function formatHours(hours: number): string {
  const seconds = hours * 3600;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (hours < 1.5) return `${Math.round(seconds / 60)} min`;
  return `${hours < 100 ? hours.toFixed(1) : grouped(Math.round(hours))} h`;
}

/** US dollars for people: "$0", "$5.25", "$36,019". */
export function formatMoney(dollars: number): string {
  if (dollars === 0) return '$0';
  return dollars < 1000 ? `$${dollars.toFixed(2)}` : `$${grouped(Math.round(dollars))}`;
}

/** FLOPs for people: "78.7 GFLOP", "1.65e21 FLOP". */
export function formatFlops(flops: number): string {
  const steps = [
    [1e15, 'P'],
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
  ] as const;
  if (flops >= 1e18) return `${formatScientific(round3(flops))} FLOP`;
  const [size, prefix] = steps.find(([limit]) => flops >= limit) ?? [1, ''];
  return `${round3(flops / size)} ${prefix}FLOP`;
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(1))} %`;
}

/** An integer with its thousands apart; a fraction with one digit. */
function grouped(value: number): string {
  const text = Number.isInteger(value) ? String(value) : value.toFixed(1);
  return text.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

function round3(value: number): number {
  return Number(value.toPrecision(3));
}
