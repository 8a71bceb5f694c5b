/**
 * The `recipe` workflow: walks the steps of a recipe from curation to report. Each step is durable: finished steps are never
 * repeated, and what they made is found in the object store under names that follow from the recipe.
 */
import {
  ApplicationFailure,
  CancellationScope,
  TemporalFailure,
  allHandlersFinished,
  condition,
  isCancellation,
  patched,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { Digest } from '../src/contracts/index.js';
import { digestSchema } from '../src/contracts/common.js';
import { runLayout } from '../src/contracts/layout.js';
import { digestOf } from '../src/domain/lib/digest.js';
import { QUERIES, SIGNALS } from '../src/domain/run/messages.js';
import type { RecipeResult } from '../src/domain/run/messages.js';
import { RUN_NAME } from '../src/domain/run/names.js';
import type { Artifact, StageResult } from '../src/domain/ledger/records.js';
import type { OperatorInput } from '../src/domain/run/operator-actions.js';
import { formatPlan, plan } from '../src/domain/plan/plan.js';
import { formatProblems, parseRecipe } from '../src/domain/recipe/parse.js';
import type { Problem, Recipe } from '../src/domain/recipe/parse.js';
import type { LedgerTip, RunStatus } from '../src/domain/run/status.js';
import { firstLine, innermostMessageOf, messageOf } from '../src/domain/lib/text.js';
import { neededBy, walk } from '../src/domain/walk/walk.js';
import type { Step } from '../src/domain/walk/walk.js';
import { prepareRun, readCheckpoints } from './activity-proxies.js';
import type { TrainedModel } from './job-specs.js';
import { NEW_JOB } from './job-state.js';
import { DroppedMessages, onSignal } from './incoming.js';
import { planQuery, statusQuery } from './messages.js';
import { OperatorDesk, skipNote, startOf } from './operator-desk.js';
import type { Abortion, Decision } from './operator-desk.js';
import { RunBoard } from './run-board.js';
import type { StageOutline } from './run-board.js';
import type { JobFailure } from './run-job.js';
import { RunLedger } from './run-ledger.js';
import { StepRunner } from './step-runner.js';
import type { StepEnd, Try, Workbench } from './step-runner.js';

/**
 * Runs a recipe: a JSON object laid over a preset; `{}` or nothing means the `tiny` preset.
 * @throws ApplicationFailure of type `user-error`, with every problem and its path, when the recipe is refused; of a failure
 * class when a stage failed for good.
 */
export async function recipe(input?: unknown): Promise<RecipeResult> {
  return begun(input).execute();
}

/** The run of a recipe. Whatever goes wrong here would go wrong in every other try, so it ends the run. */
function begun(input: unknown): RecipeRun {
  try {
    const parsed = parseRecipe(input);
    const problems = [...(parsed.ok ? [] : parsed.problems), ...runNameProblems(workflowInfo().workflowId)];
    if (!parsed.ok || problems.length > 0) throw refusal(problems, parsed.ok ? 0 : parsed.untold);
    return new RecipeRun(parsed.recipe);
  } catch (error) {
    if (error instanceof TemporalFailure) throw error;
    const message = `nothing can be made of it: ${messageOf(error)}`;
    throw refusal([{ path: '', message, accepted: 'what `longhaul plan` can print' }], 0);
  }
}

function runNameProblems(workflowId: string): Problem[] {
  if (RUN_NAME.test(workflowId)) return [];
  const message = `the workflow id ${JSON.stringify(workflowId)} cannot name a run`;
  return [
    {
      path: '',
      message,
      accepted: 'up to 100 letters, digits, ".", "_" and "-", starting with a letter or digit',
    },
  ];
}

function refusal(problems: readonly Problem[], untold: number): ApplicationFailure {
  return ApplicationFailure.create({
    type: 'user-error',
    nonRetryable: true,
    message: formatProblems(problems, untold),
  });
}

/** A run of one recipe: its steps, what they have made so far, its board, its ledger and its operators. */
class RecipeRun {
  readonly #run = workflowInfo().workflowId;
  readonly #recipe: Recipe;
  readonly #recipeDigest: Digest;
  readonly #steps: readonly Step[];
  readonly #board: RunBoard;
  readonly #ledger: RunLedger;
  readonly #desk: OperatorDesk;
  readonly #trained = new Map<string, TrainedModel>();

  constructor(recipe: Recipe) {
    this.#recipe = recipe;
    this.#recipeDigest = digestSchema.parse(digestOf(recipe));
    this.#steps = walk(recipe);
    const outline = { run: this.#run, preset: recipe.preset, runUrl: '', recipeDigest: this.#recipeDigest };
    this.#board = new RunBoard(outline, this.#steps.map(outlineOf));
    this.#ledger = new RunLedger({
      onTip: (tip) => this.#board.ledger(tip),
      onTrouble: (why) => this.#board.warn('ledger', why === null ? [] : [why]),
    });
    this.#desk = new OperatorDesk(recipe, this.#steps, this.#board, this.#ledger);
    this.#listen();
  }

  async execute(): Promise<RecipeResult> {
    // From then on a store that takes no records keeps the run from ending no longer than its job.
    void CancellationScope.current().cancelRequested.catch(() =>
      this.#ledger.endWithin(this.#recipe.execution.graceSeconds),
    );
    try {
      const result = await this.#desk.scope.run(() => this.#walk());
      await this.#end('completed', '', result.reportUrl);
      return result;
    } catch (error) {
      const { aborted } = this.#desk;
      if (aborted !== null) throw await this.#endAborted(aborted);
      await this.#end(isCancellation(error) ? 'cancelled' : 'failed', innermostMessageOf(error), null);
      throw error;
    }
  }

  /** The last record, and then the run is over. One that was never prepared has no ledger. */
  async #end(
    state: 'completed' | 'failed' | 'cancelled',
    why: string,
    reportUrl: string | null,
  ): Promise<void> {
    // Whoever waits for a failed run waits for its result; a completed one has time for its ledger.
    if (state !== 'completed') this.#ledger.endWithin(this.#recipe.execution.graceSeconds);
    if (this.#board.status.runUrl !== '') await this.#ledger.append({ type: 'run-ended', state, why });
    this.#board.end(
      state,
      [why, this.#lostText()].filter((text) => text !== ''),
      reportUrl,
    );
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  }

  /** What the ledger lacks; empty: nothing. */
  #lostText(): string {
    const { lost } = this.#ledger;
    if (lost === 0) return '';
    return `the store did not take ${lost} of the ledger's records in time; the janitor records the end once it does`;
  }

  async #endAborted({ actor, reason }: Abortion): Promise<ApplicationFailure> {
    const message = `aborted by ${actor}: ${reason}`;
    await this.#end('cancelled', message, null);
    return ApplicationFailure.create({ type: 'cancelled', nonRetryable: true, message });
  }

  #listen(): void {
    setHandler(statusQuery, () => this.#board.status, { description: QUERIES.status.meaning });
    setHandler(
      planQuery,
      () => [formatPlan(plan(this.#recipe)), ...adoptionsIn(this.#board.status)].join('\n'),
      { description: QUERIES.plan.meaning },
    );
    const dropped = new DroppedMessages(() =>
      this.#board.warn('messages', dropped.warning === null ? [] : [dropped.warning]),
    );
    onSignal(SIGNALS.stageProgress, dropped, ({ folder, progress }) =>
      this.#board.progress(folder, progress),
    );
    onSignal(SIGNALS.stageQueued, dropped, ({ folder, queued }) => this.#board.queued(folder, queued));
  }

  async #walk(): Promise<RecipeResult> {
    const bench = await this.#prepare();
    const runner = new StepRunner(bench, this.#desk, this.#board);
    let reportUrl: string | null = null;
    for (const step of this.#steps) reportUrl = (await this.#perform(step, runner)) ?? reportUrl;
    const models = Object.fromEntries([...this.#trained].map(([stage, { model }]) => [stage, model]));
    return { run: this.#run, runUrl: bench.runUrl, recipeDigest: this.#recipeDigest, reportUrl, models };
  }

  async #prepare(): Promise<Workbench> {
    const { namespace, workflowId, runId } = workflowInfo();
    const identity = { run: this.#run, recipeDigest: this.#recipeDigest, namespace, workflowId };
    const prepared = await prepareRun({ ...identity, recipe: this.#recipe });
    this.#board.locate(prepared.runUrl);
    this.#ledger.open(prepared.runUrl);
    await this.#ledger.append({ type: 'run-opened', ...identity, runId });
    return {
      ...prepared,
      run: this.#run,
      recipe: this.#recipe,
      recipeDigest: this.#recipeDigest,
      datasets: new Map(),
      configs: new Map(),
      trained: this.#trained,
    };
  }

  /** One step, until it is done or left out, through pauses and repairs; the report's URL if it was the report. */
  async #perform(step: Step, runner: StepRunner): Promise<string | null> {
    const { folder, kind, title } = step;
    let how: Try = { job: NEW_JOB, force: false, specRevision: 0 };
    for (let tries = 0; ; tries += 1) {
      await this.#desk.clearance(step);
      const decision = this.#desk.takeDecision(folder);
      if (decision?.kind === 'skip') return this.#skip(step, skipNote(decision.input), how);
      if (decision !== null) how = repaired(how, decision.input);
      this.#board.start(folder);
      if (tries === 0) await this.#ledger.append({ type: 'stage-started', folder, kind, title });
      const end = await this.#attempt(step, runner, how);
      switch (end.state) {
        case 'done':
        case 'adopted':
          this.#board.finish(folder, { ...end.change, state: end.state });
          await this.#record(folder, end.state, '', end);
          return end.reportUrl;
        case 'paused':
          how = { ...how, job: { ...end.job, why: 'after a pause' } };
          this.#board.pause(folder, end.job.attempts);
          await this.#record(folder, 'paused', '', { chain: end.job.ledger });
          break;
        case 'parked': {
          how = { ...how, job: end.job };
          const choice = await this.#park(step, end);
          if (choice.kind === 'skip') return this.#skip(step, skipNote(choice.input), how);
          how = repaired(how, choice.input);
          break;
        }
      }
    }
  }

  async #attempt(step: Step, runner: StepRunner, how: Try): Promise<StepEnd> {
    try {
      return await runner.attempt(step, how);
    } catch (error) {
      const why = this.#desk.aborted === null ? 'the run was cancelled' : 'the run was aborted';
      this.#board.fail(step.folder, 'cancelled', why);
      await this.#record(step.folder, 'cancelled', why, { chain: null });
      throw error;
    }
  }

  async #park(step: Step, { failure, job }: Extract<StepEnd, { state: 'parked' }>): Promise<Decision> {
    const { folder } = step;
    const { onFailure } = this.#desk.recipe.execution;
    const chain = job.ledger.records === 0 ? null : job.ledger;
    const why = `${failure.message}; ${failure.why}`;
    if (onFailure === 'fail') {
      await this.#record(folder, 'failed', why, { chain });
      this.#board.fail(folder, 'failed', firstLine(failure.message));
      throw stageFailure(folder, failure);
    }
    // Shown before it is recorded: a store that refuses everything refuses the record as well.
    const shownFirst = patched('park-shown-first');
    if (!shownFirst) await this.#record(folder, 'parked', why, { chain });
    const { class: failureClass, message, checkpoints, logTail } = failure;
    this.#board.park({
      folder,
      class: failureClass,
      message,
      why: failure.why,
      attempts: job.attempts,
      checkpoints: checkpoints === null ? null : [...checkpoints],
      logTail: [...logTail],
      choices: choicesFor(step, this.#steps),
    });
    const looking = new CancellationScope();
    if (checkpoints === null && patched('checkpoints-read-again'))
      void looking.run(() => this.#showCheckpoints(folder));
    if (shownFirst) await this.#record(folder, 'parked', why, { chain });
    try {
      return await this.#desk.decision(folder);
    } finally {
      looking.cancel();
    }
  }

  /** Which checkpoints a parked stage has, once the store says so. What can't be told stays unknown. */
  async #showCheckpoints(folder: string): Promise<void> {
    try {
      const checkpoints = await readCheckpoints({
        stageUrl: runLayout(this.#board.status.runUrl).stage(folder),
      });
      this.#board.checkpoints(folder, checkpoints);
    } catch {
      // Somebody has decided about the stage, or the store refuses to say.
    }
  }

  async #skip(step: Step, note: string, { job }: Try): Promise<null> {
    this.#board.goOn();
    this.#board.finish(step.folder, { state: 'skipped', note });
    await this.#record(step.folder, 'skipped', note, { chain: job.ledger.records === 0 ? null : job.ledger });
    return null;
  }

  #record(
    folder: string,
    result: StageResult,
    why: string,
    { chain, artifacts = [] }: { readonly chain: LedgerTip | null; readonly artifacts?: readonly Artifact[] },
  ): Promise<void> {
    return this.#ledger.append({
      type: 'stage-ended',
      folder,
      result,
      why,
      chain,
      artifacts: [...artifacts],
    });
  }
}

/** Stages that were adopted instead of computed, each with the reason. */
function adoptionsIn({ stages }: RunStatus): string[] {
  const adopted = stages.filter(({ state }) => state === 'adopted');
  return adopted.map(({ title, note }) => `Adopted: ${title}${note === '' ? '' : `, ${note}`}`);
}

/** A try after an operator's decision: budgets begin anew, what was learned and left out stays. */
function repaired({ job, force, specRevision }: Try, input: OperatorInput<'retryStage'>): Try {
  const { actor, reason, overrides } = input;
  return {
    job: {
      ...job,
      records: [],
      sinceCommit: NEW_JOB.sinceCommit,
      from: startOf(input),
      why: `retried by ${actor}: ${reason}`,
    },
    force: force || input.force === true,
    specRevision: overrides === undefined && input.force !== true ? specRevision : specRevision + 1,
  };
}

/** What an operator can do about a parked stage, in sentences. */
function choicesFor(step: Step, steps: readonly Step[]): string[] {
  const needing = neededBy(steps, step.folder);
  const trains = step.kind === 'training' || step.kind === 'sft';
  return [
    trains
      ? 'retryStage: attempts it again, from the newest checkpoint or one you name, with other settings if you give overrides'
      : 'retryStage: attempts it again',
    needing.length === 0
      ? 'skipStage: leaves it out'
      : `skipStage is not possible: ${needing.join(', ')} need it`,
    'abort: ends the run',
  ];
}

function stageFailure(
  folder: string,
  { class: type, message, why, logTail }: JobFailure,
): ApplicationFailure {
  const log = logTail.length === 0 ? '' : `\nLast lines of its log:\n${logTail.join('\n')}`;
  return ApplicationFailure.create({
    type,
    nonRetryable: true,
    message: `${folder}: ${message}\n${why}${log}`,
  });
}

function outlineOf(step: Step): StageOutline {
  const { folder, title, kind } = step;
  const steps =
    step.kind === 'training' || step.kind === 'sft'
      ? step.settings.tokens / step.settings.globalBatchTokens
      : null;
  return { folder, title, kind, steps };
}
