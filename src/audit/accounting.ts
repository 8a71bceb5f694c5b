/**
 * Where the time and the money of a run went, from its ledger alone. Every second of a stage gets exactly one label:
 * - `useful`: steps that the result is made of, and evaluation
 * - `replayed`: steps that had to be made again, because a later attempt began before them
 * - `queued`: waiting for devices, for a place, for a relaunch, or between attempts
 * - `starting`: imports, loading, and what the first step takes longer than the others
 * - `saving`: steps stalled by a save, the export, and the end of a job that was told to stop
 * - `hung`: without progress until the watchdog stopped the job
 * - `parked`: waiting for an operator
 * - `other`: what nobody measured, such as the start of a job that was killed
 */
import type { AttemptSeconds, EntryOf } from '../domain/ledger/records.js';
import type { Recipe } from '../domain/recipe/schema.js';
import { partsOfCommitId } from '../contracts/layout.js';
import { commitIdSchema } from '../contracts/index.js';
import { SECOND_LABELS } from './audit-data.js';
import type { Accounting, CostByLabel, LabelledSeconds, SecondLabel, StageTime } from './audit-data.js';
import { openings, recordsOf } from './gathered.js';
import type { GatheredRun, GatheredStage, RecordOf } from './gathered.js';

/** Labels of time in which devices are held, and paid for. */
const HELD: ReadonlySet<SecondLabel> = new Set(['useful', 'replayed', 'starting', 'saving', 'hung', 'other']);

/** Kinds of stages that run jobs. */
const WITH_JOBS: ReadonlySet<string> = new Set(['training', 'sft', 'evaluation']);

/** Seconds by label, and what they cost. */
export function accountFor(run: GatheredRun): Accounting {
  const intervals = intervalsOf(run);
  const kinds = kindsOf(run);
  const withJobs = intervals.filter(({ folder }) => WITH_JOBS.has(kinds.get(folder) ?? ''));
  const stages = [...new Set(withJobs.map(({ folder }) => folder))].map((folder) =>
    stageTime(
      run.stages.find((stage) => stage.folder === folder),
      withJobs.filter((interval) => interval.folder === folder),
      folder,
    ),
  );
  const waitingSeconds = secondsBetweenStages(run, intervals);
  const seconds = sumOf([...stages.map((stage) => stage.seconds), { ...NOTHING, parked: waitingSeconds }]);
  const allSeconds = totalOf(seconds);
  const heldSeconds = SECOND_LABELS.reduce((sum, label) => sum + (HELD.has(label) ? seconds[label] : 0), 0);
  return {
    stages,
    waitingSeconds,
    seconds,
    allSeconds,
    goodput: shareOf(seconds.useful, allSeconds),
    goodputWhileHeld: shareOf(seconds.useful, heldSeconds),
    secondsWithoutDevices: intervals
      .filter(({ folder, parked }) => !parked && !WITH_JOBS.has(kinds.get(folder) ?? ''))
      .reduce((sum, { from, to }) => sum + secondsBetween(from, to), 0),
    cost: costOf(run.recipe?.recipe ?? null, seconds),
  };
}

function shareOf(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}

function costOf(recipe: Recipe | null, seconds: LabelledSeconds): CostByLabel | null {
  if (recipe === null) return null;
  const { gpu, gpus, pricePerGpuHour } = recipe.cost;
  const perSecond = (gpus * pricePerGpuHour) / 3600;
  const byLabel = labelled((label) => (HELD.has(label) ? seconds[label] * perSecond : 0));
  return { gpu, gpus, pricePerGpuHour, byLabel, total: totalOf(byLabel) };
}

/** A time in which a stage was under way, or waited for an operator. Epoch milliseconds. */
interface Interval {
  readonly folder: string;
  readonly from: number;
  readonly to: number;
  readonly parked: boolean;
}

function kindsOf(run: GatheredRun): Map<string, string> {
  return new Map(recordsOf(run.chain, 'stage-started').map(({ entry }) => [entry.folder, entry.kind]));
}

/**
 * Stages from their start to their end. From a park or a pause to the next start, or the next attempt, they wait for an
 * operator.
 */
function intervalsOf(run: GatheredRun): Interval[] {
  return stageIntervals(run).flatMap((interval) => {
    if (!interval.parked) return [interval];
    const next = nextAttempt(run, interval);
    if (next === null) return [interval];
    return [
      { ...interval, to: next },
      { ...interval, from: next, parked: false },
    ];
  });
}

/** Seconds of the run without a stage under way, between its stages: at a gate of the recipe, or paused. */
function secondsBetweenStages(run: GatheredRun, intervals: readonly Interval[]): number {
  let covered: number | null = null;
  let seconds = 0;
  for (const { from, to } of [...intervals, ...closedTimes(run)].toSorted((a, b) => a.from - b.from)) {
    seconds += secondsBetween(covered ?? from, from);
    covered = Math.max(covered ?? to, to);
  }
  return seconds;
}

/** Times in which no workflow of the run was open: from an end to the next opening, or to now. */
function closedTimes(run: GatheredRun): { readonly from: number; readonly to: number }[] {
  const opened = openings(run.chain);
  return recordsOf(run.chain, 'run-ended').map(({ index, at }) => {
    const next = opened.find((record) => record.index > index);
    return { from: Date.parse(at), to: Date.parse(next?.at ?? at) };
  });
}

/** When a stage that waited was attempted again. */
function nextAttempt(run: GatheredRun, { folder, from, to }: Interval): number | null {
  const stage = run.stages.find((one) => one.folder === folder);
  const opened = stage === undefined ? [] : recordsOf(stage.chain, 'attempt-opened');
  return opened.map(({ at }) => Date.parse(at)).find((at) => at >= from && at < to) ?? null;
}

function stageIntervals(run: GatheredRun): Interval[] {
  const intervals: Interval[] = [];
  const open = new Map<string, { readonly from: number; readonly parked: boolean }>();
  /** Stages that ended with their run: a reset to before that goes on with them. */
  const cut = new Set<string>();
  const close = (folder: string, to: number): void => {
    const begun = open.get(folder);
    if (begun !== undefined)
      intervals.push({ folder, from: begun.from, to: Math.max(begun.from, to), parked: begun.parked });
    open.delete(folder);
  };
  for (const { record } of run.chain.links) {
    if (record === null) continue;
    const { entry } = record;
    const at = Date.parse(record.at);
    if (entry.type === 'run-reset') for (const folder of cut) open.set(folder, { from: at, parked: false });
    if (entry.type === 'stage-started') {
      cut.delete(entry.folder);
      close(entry.folder, at);
      open.set(entry.folder, { from: at, parked: false });
    }
    if (entry.type === 'stage-ended') {
      close(entry.folder, at);
      if (entry.result === 'cancelled') cut.add(entry.folder);
      if (entry.result === 'parked' || entry.result === 'paused')
        open.set(entry.folder, { from: at, parked: true });
    }
    if (entry.type !== 'run-ended') continue;
    for (const folder of [...open.keys()]) {
      cut.add(folder);
      close(folder, at);
    }
  }
  const now = lastInstant(run);
  for (const folder of [...open.keys()]) close(folder, now);
  return intervals;
}

/** The newest instant that any chain names: how far the books of a run under way go. */
function lastInstant(run: GatheredRun): number {
  const chains = [run.chain, ...run.stages.map(({ chain }) => chain)];
  const instants = chains.flatMap(({ links }) =>
    links.flatMap(({ record }) => (record === null ? [] : [Date.parse(record.at)])),
  );
  return Math.max(0, ...instants);
}

function stageTime(
  stage: GatheredStage | undefined,
  intervals: readonly Interval[],
  folder: string,
): StageTime {
  const attempts = stage === undefined ? [] : attemptsOf(stage, intervals);
  const labelledAttempts = attempts.map((attempt) => attempt.seconds);
  const inAttempts = attempts.reduce((sum, { wallSeconds }) => sum + wallSeconds, 0);
  const lengthOf = (parked: boolean): number =>
    intervals.reduce((sum, one) => sum + (one.parked === parked ? secondsBetween(one.from, one.to) : 0), 0);
  const between = { ...NOTHING, queued: Math.max(0, lengthOf(false) - inAttempts), parked: lengthOf(true) };
  return { folder, attempts: attempts.length, seconds: sumOf([...labelledAttempts, between]) };
}

interface AttemptTime {
  readonly wallSeconds: number;
  readonly seconds: LabelledSeconds;
}

/** One attempt as the ledger has it; `ended` null: nobody saw its end. */
interface RecordedAttempt {
  readonly opened: RecordOf<'attempt-opened'>;
  readonly ended: EntryOf<'attempt-ended'> | null;
}

/** The attempts of a stage's chain in order. */
export function recordedAttempts({ chain }: Pick<GatheredStage, 'chain'>): RecordedAttempt[] {
  const ends = new Map(recordsOf(chain, 'attempt-ended').map(({ entry }) => [entry.epoch, entry]));
  return recordsOf(chain, 'attempt-opened').map((opened) => ({
    opened,
    ended: ends.get(opened.entry.epoch) ?? null,
  }));
}

function attemptsOf(stage: GatheredStage, intervals: readonly Interval[]): AttemptTime[] {
  const attempts = recordedAttempts(stage);
  const kept = keptSteps(attempts);
  return attempts.map(({ opened, ended }, index) => {
    if (ended !== null) return endedTime(ended, firstStepOf(opened), kept[index] ?? 0);
    const wallSeconds = unseenSeconds(opened, attempts[index + 1]?.opened, intervals);
    const label = waitedInVain(stage, opened.entry.epoch) ? 'queued' : 'other';
    return { wallSeconds, seconds: { ...NOTHING, [label]: wallSeconds } };
  });
}

/** Whether an attempt was claimed and left nothing: its job waited for a place, and was cancelled before there was one. */
function waitedInVain({ attempts }: GatheredStage, epoch: number): boolean {
  return attempts.some((attempt) => attempt.epoch === epoch && !attempt.ran);
}

/** Step that an attempt begins after. */
function firstStepOf({ entry }: RecordOf<'attempt-opened'>): number {
  return entry.from === null ? 0 : partsOfCommitId(commitIdSchema.parse(entry.from)).step;
}

/**
 * How many steps of each attempt the result is made of: those before the step that any later attempt began at. Of one that
 * did not finish and has no successor, those up to its last commit.
 */
function keptSteps(attempts: readonly RecordedAttempt[]): number[] {
  const kept: number[] = [];
  let limit = Number.POSITIVE_INFINITY;
  for (const { opened, ended } of attempts.toReversed()) {
    const first = firstStepOf(opened);
    const last = ended?.step ?? first;
    const isLast = limit === Number.POSITIVE_INFINITY;
    const safe = isLast && ended !== null && ended.class !== 'done' ? lastCommit(ended, first) : last;
    kept.unshift(Math.max(0, Math.min(safe, limit) - first));
    limit = Math.min(limit, first);
  }
  return kept;
}

function lastCommit({ commits }: EntryOf<'attempt-ended'>, first: number): number {
  return Math.max(first, ...commits.map(({ step }) => step));
}

/** Labels of an attempt whose end was recorded. Their sum is its wall time. */
function endedTime(entry: EntryOf<'attempt-ended'>, firstStep: number, kept: number): AttemptTime {
  const steps = Math.max(0, entry.step - firstStep);
  const { measured, other } = withinWall(entry.seconds, entry.wallSeconds);
  const { starting, stepping } = splitFirstStep(measured, steps);
  const share = steps === 0 ? 1 : Math.min(1, kept / steps);
  const useful = stepping * share;
  const seconds = {
    ...NOTHING,
    useful: useful + measured.evaluate,
    replayed: stepping - useful,
    queued: measured.queued,
    starting: measured.import + measured.load + starting,
    saving: measured.save + measured.export + measured.stopping,
    hung: measured.hung,
    other,
  };
  return { wallSeconds: entry.wallSeconds, seconds };
}

/**
 * Measured seconds that fit into the wall time. A job that saves while it stops counts those seconds itself, and its observer
 * counts them too: they are taken from what the observer saw. What is left over beyond that is two clocks' disagreement.
 */
function withinWall(
  seconds: AttemptSeconds,
  wallSeconds: number,
): { readonly measured: AttemptSeconds; readonly other: number } {
  const excess = total(seconds) - wallSeconds;
  if (excess <= 0) return { measured: seconds, other: -excess };
  const once = { ...seconds, stopping: Math.max(0, seconds.stopping - excess) };
  const scale = Math.min(1, wallSeconds / Math.max(total(once), Number.MIN_VALUE));
  return { measured: scaled(once, scale), other: Math.max(0, wallSeconds - total(once)) };
}

function total(seconds: AttemptSeconds): number {
  return Object.values(seconds).reduce((sum, value) => sum + value, 0);
}

function scaled(seconds: AttemptSeconds, by: number): AttemptSeconds {
  const {
    import: imports,
    load,
    firstStep,
    step,
    save,
    evaluate,
    export: exports,
    queued,
    hung,
    stopping,
  } = seconds;
  return {
    import: imports * by,
    load: load * by,
    firstStep: firstStep * by,
    step: step * by,
    save: save * by,
    evaluate: evaluate * by,
    export: exports * by,
    queued: queued * by,
    hung: hung * by,
    stopping: stopping * by,
  };
}

/** A first step takes longer than the others: what it takes longer is part of the start. */
function splitFirstStep(
  { firstStep, step }: AttemptSeconds,
  steps: number,
): { readonly starting: number; readonly stepping: number } {
  if (steps === 0) return { starting: firstStep, stepping: step };
  if (steps === 1) return { starting: 0, stepping: firstStep + step };
  const starting = Math.max(0, firstStep - step / (steps - 1));
  return { starting, stepping: firstStep - starting + step };
}

/** Wall time of an attempt whose end nobody saw: to the next attempt, or to the end of the interval it lies in. */
function unseenSeconds(
  opened: RecordOf<'attempt-opened'>,
  next: RecordOf<'attempt-opened'> | undefined,
  intervals: readonly Interval[],
): number {
  const from = Date.parse(opened.at);
  const within = intervals.find((one) => !one.parked && one.from <= from && from <= one.to);
  const ends = [within?.to, next === undefined ? undefined : Date.parse(next.at)].filter(
    (end) => end !== undefined,
  );
  return ends.length === 0 ? 0 : secondsBetween(from, Math.min(...ends));
}

function secondsBetween(from: number, to: number): number {
  return Math.max(0, (to - from) / 1000);
}

function labelled(valueOf: (label: SecondLabel) => number): LabelledSeconds {
  return {
    useful: valueOf('useful'),
    replayed: valueOf('replayed'),
    queued: valueOf('queued'),
    starting: valueOf('starting'),
    saving: valueOf('saving'),
    hung: valueOf('hung'),
    parked: valueOf('parked'),
    other: valueOf('other'),
  };
}

const NOTHING = labelled(() => 0);

function sumOf(all: readonly LabelledSeconds[]): LabelledSeconds {
  return labelled((label) => all.reduce((sum, seconds) => sum + seconds[label], 0));
}

function totalOf(seconds: LabelledSeconds): number {
  return SECOND_LABELS.reduce((sum, label) => sum + seconds[label], 0);
}
