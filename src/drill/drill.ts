/**
 * The drill: a recipe run undisturbed, and again under a seeded schedule of faults, must come to the same bits. It knows the
 * store and the backend, and gets the rest from its caller: how a run is executed, and whether there is a worker to restart.
 */
import type { Backend, SignalsJobs } from '../backends/backend.js';
import type { Recipe } from '../domain/recipe/schema.js';
import { digestSchema } from '../contracts/common.js';
import { digestOf } from '../domain/lib/digest.js';
import { jobName } from '../domain/run/names.js';
import { durationText } from '../domain/run/status-markdown.js';
import { runLayout, rootLayout } from '../contracts/layout.js';
import type { ObjectStore } from '../store/object-store.js';
import { encodeJson } from '../store/object-store.js';
import { pendingUploads } from '../store/stale-uploads.js';
import { compareRuns } from './compare.js';
import type { Check } from './compare.js';
import { readEvidence } from './evidence.js';
import type { ConsumedRows, StageEvidence } from './evidence.js';
import { injectFaults, possibleKinds } from './inject.js';
import type { DrillWorker } from './inject.js';
import { ledgerProblems } from './ledger.js';
import { drillReportSchema, drillText, faultCells } from './report.js';
import type { DrillReport } from './report.js';
import { faultSchedule } from './schedule.js';
import type { FaultKind } from './schedule.js';

/** How a run ended. */
export type ExecutedRun =
  { readonly completed: true } | { readonly completed: false; readonly problem: string };

/** What a drill works with. */
export interface DrillDependencies {
  readonly store: ObjectStore;
  readonly backend: Backend & Partial<SignalsJobs>;
  /** null: workers are somebody else's. */
  readonly worker: DrillWorker | null;
  /** Prefix that runs lie below, where the recipe names none. */
  readonly rootUrl: string;
  /** Starts a run of the recipe under that name and waits for its end. */
  readonly execute: (run: string) => Promise<ExecutedRun>;
  /** Takes a line for people. */
  readonly note: (line: string) => void;
}

/** What to drill. */
export interface DrillOptions {
  /** Both runs' names begin with it. */
  readonly name: string;
  readonly recipe: Recipe;
  readonly seed: number;
  readonly faults: number;
  readonly kinds: readonly FaultKind[];
}

/** Longest freeze: long enough to be noticed, short enough not to be taken for a hang. Seconds. */
const LONGEST_FREEZE_SECONDS = 3;
/** Share of the run's commits over which the faults are spread: those that strike late must still find a job. */
const COMMITS_USED = 0.8;

/** Performs the drill, writes its report into the disturbed run's prefix, and returns it. */
export async function drill(deps: DrillDependencies, options: DrillOptions): Promise<DrillReport> {
  const { name, recipe, seed } = options;
  const startedAt = new Date().toISOString();
  const runs = { undisturbed: `${name}-undisturbed`, disturbed: `${name}-disturbed` };
  const root = rootLayout(recipe.store?.url ?? deps.rootUrl);
  const urls = { undisturbed: root.run(runs.undisturbed), disturbed: root.run(runs.disturbed) };

  deps.note(`Undisturbed run ${runs.undisturbed}`);
  deps.note(`  to follow it from a second shell: longhaul watch ${runs.undisturbed}`);
  const undisturbed = await timed(() => deps.execute(runs.undisturbed));
  deps.note(`  ${endText(undisturbed)}`);
  const wanted = await readEvidence(deps.store, urls.undisturbed);
  const kinds = possibleKinds(deps, options.kinds);
  const faultCount = undisturbed.value.completed ? options.faults : 0;
  const schedule = faultSchedule({
    seed,
    faults: faultCount,
    kinds,
    ...paceFor(wanted, faultCount),
    longestFreezeSeconds: LONGEST_FREEZE_SECONDS,
  });
  deps.note(`Disturbed run ${runs.disturbed}`);
  deps.note(`  ${schedule.length} faults, drawn by seed ${seed} from ${kinds.join(', ')}`);
  const over = new AbortController();
  const targets = {
    ...deps,
    run: runs.disturbed,
    runUrl: urls.disturbed,
    graceSeconds: recipe.execution.graceSeconds,
  };
  const execution = timed(() => deps.execute(runs.disturbed)).finally(() => over.abort());
  const injection = injectFaults(targets, schedule, over.signal, (fault) =>
    deps.note(`  ${faultCells(fault).join('  ')}`),
  );
  const [disturbed, faults] = await Promise.all([execution, injection]);
  deps.note(`  ${endText(disturbed)}`);

  const left = await readEvidence(deps.store, urls.disturbed);
  const checks = [
    completedCheck('undisturbed run', undisturbed.value),
    completedCheck('disturbed run', disturbed.value),
    faultCheck(faults.length, schedule.length),
    ...compareRuns(wanted, left),
    await ledgerCheck(deps, urls.disturbed, left),
    await jobCheck(deps, runs.disturbed, left),
    await uploadCheck(deps, urls.disturbed),
  ];
  const report = drillReportSchema.parse({
    schema: 'longhaul.drill/1',
    passed: checks.every(({ passed }) => passed),
    seed,
    undisturbedRun: runs.undisturbed,
    disturbedRun: runs.disturbed,
    recipeDigest: digestSchema.parse(digestOf(recipe)),
    startedAt,
    endedAt: new Date().toISOString(),
    seconds: { undisturbed: undisturbed.seconds, disturbed: disturbed.seconds },
    planned: schedule.length,
    faults,
    checks,
  });
  await deps.store.put(runLayout(urls.disturbed).drill, encodeJson(report));
  await deps.store.put(runLayout(urls.disturbed).drillText, Buffer.from(drillText(report)));
  return report;
}

/** Spreads so many faults over the training of a run: over its commits, and anywhere between two of them. */
function paceFor(
  stages: readonly StageEvidence[],
  faults: number,
): { readonly mostCommits: number; readonly meanSeconds: number } {
  const trained = stages.filter((stage) => stage.kind === 'train');
  // Retention removes manifests, but those that are left tell how far apart commits are.
  const commits = trained.reduce((sum, { rows, consumed }) => sum + rows / meanRows(consumed), 0);
  const seconds = trained.reduce((sum, { trainingSeconds }) => sum + trainingSeconds, 0);
  return {
    mostCommits: Math.floor((COMMITS_USED * commits) / Math.max(1, faults)),
    meanSeconds: seconds / Math.max(1, commits) / 2,
  };
}

function meanRows(consumed: readonly ConsumedRows[]): number {
  const rows = consumed.reduce((sum, { first, end }) => sum + end - first, 0);
  return Math.max(1, rows / Math.max(1, consumed.length));
}

async function timed<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly seconds: number }> {
  const since = performance.now();
  const value = await work();
  return { value, seconds: (performance.now() - since) / 1000 };
}

function endText({ value, seconds }: { readonly value: ExecutedRun; readonly seconds: number }): string {
  return value.completed ? `completed in ${durationText(seconds)}` : value.problem;
}

function completedCheck(what: string, run: ExecutedRun): Check {
  return { stage: null, what, passed: run.completed, found: run.completed ? 'completed' : run.problem };
}

function faultCheck(struck: number, planned: number): Check {
  const found = `${struck} of ${planned} struck${struck < planned ? ' before the run was over' : ''}`;
  return { stage: null, what: 'faults', passed: struck > 0, found };
}

async function ledgerCheck(
  { store }: DrillDependencies,
  runUrl: string,
  stages: readonly StageEvidence[],
): Promise<Check> {
  const problems = await ledgerProblems(store, runUrl, stages);
  const found = problems.length === 0 ? 'every chain verifies' : problems.slice(0, 5).join('; ');
  return { stage: null, what: 'ledger', passed: problems.length === 0, found };
}

/** A run leaves no job behind. */
async function jobCheck(
  { backend }: DrillDependencies,
  run: string,
  stages: readonly StageEvidence[],
): Promise<Check> {
  const names = stages.flatMap(({ folder, attempts }) =>
    attempts.map(({ epoch }) => jobName(run, folder, epoch)),
  );
  const running: string[] = [];
  for (const name of names) if ((await backend.observe(name)).state === 'running') running.push(name);
  const found = running.length === 0 ? 'none is left running' : `still running: ${running.join(', ')}`;
  return { stage: null, what: 'jobs', passed: running.length === 0, found };
}

/** A run leaves no upload behind that nobody will finish. */
async function uploadCheck({ store }: DrillDependencies, runUrl: string): Promise<Check> {
  const uploads: string[] = [];
  for await (const { url } of pendingUploads(store, runLayout(runUrl).stages)) uploads.push(url);
  const found = uploads.length === 0 ? 'none is left unfinished' : `unfinished: ${uploads.join(', ')}`;
  return { stage: null, what: 'uploads', passed: uploads.length === 0, found };
}
