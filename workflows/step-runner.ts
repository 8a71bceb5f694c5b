/** One try at a step of the recipe: starts its child or its activity, and says what became of it. */
import { ApplicationFailure, isCancellation, startChild } from '@temporalio/workflow';
import type { ChildWorkflowHandle } from '@temporalio/workflow';
import type { ConfigRef } from '../activities/rope-bump.js';
import type { StageHistory } from '../activities/attempt/children.js';
import type { DatasetRef } from '../src/contracts/index.js';
import { runLayout, stageLayout } from '../src/contracts/layout.js';
import type { Reaction } from '../src/domain/attempt/policy.js';
import { failureClassOf } from '../src/domain/attempt/failure-class.js';
import type { Artifact } from '../src/domain/ledger/records.js';
import { formatScientific } from '../src/domain/recipe/quantities.js';
import type { LedgerTip } from '../src/domain/run/status.js';
import { innermostMessageOf } from '../src/domain/lib/text.js';
import type {
  CurationStep,
  EvaluationStep,
  RopeBumpStep,
  Step,
  TrainingStep,
} from '../src/domain/walk/walk.js';
import { bumpRopeBase, stageHistory, writeReport } from './activity-proxies.js';
import { curation } from './curation.js';
import { evaluation } from './evaluation.js';
import { failureTypeOf } from './failures.js';
import { evaluateSpec, trainSpec } from './job-specs.js';
import type { Inputs, TrainedModel } from './job-specs.js';
import { nextFor } from './job-state.js';
import type { JobState } from './job-state.js';
import { ChildWatch, withHistory } from './lost-children.js';
import type { LostChild } from './lost-children.js';
import { budgetsSignal, pauseSignal } from './messages.js';
import type { OperatorDesk } from './operator-desk.js';
import type { RunBoard, StageChange } from './run-board.js';
import type { JobEnd, JobFailure } from './run-job.js';
import { trainingStage } from './training-stage.js';
import type { StageInput } from './training-stage.js';

/** How a step is to be tried. */
export interface Try {
  readonly job: JobState;
  readonly force: boolean;
  /** How often a retry has changed the stage's settings. */
  readonly specRevision: number;
}

/** What became of a try. */
export type StepEnd =
  | {
      readonly state: 'done' | 'adopted';
      readonly change: StageChange;
      readonly artifacts: readonly Artifact[];
      /** Tip of the stage's own ledger; null: it has none. */
      readonly chain: LedgerTip | null;
      readonly reportUrl: string | null;
    }
  | { readonly state: 'paused'; readonly job: JobState }
  | { readonly state: 'parked'; readonly failure: JobFailure; readonly job: JobState };

/** Where everything is that the steps before have made. */
export type Workbench = Inputs & {
  readonly rootUrl: string;
  readonly datasets: Map<string, DatasetRef>;
  readonly configs: Map<string, ConfigRef>;
  readonly trained: Map<string, TrainedModel>;
};

/** Tries steps of one run. What they make is put on the workbench. */
export class StepRunner {
  readonly #children = new ChildWatch();

  constructor(
    private readonly bench: Workbench,
    private readonly desk: OperatorDesk,
    private readonly board: RunBoard,
  ) {}

  /** @throws CancelledFailure when the run is cancelled or aborted; what runs is stopped by then. */
  async attempt(step: Step, how: Try): Promise<StepEnd> {
    try {
      switch (step.kind) {
        case 'curation':
          return await this.#curate(step);
        case 'rope-bump':
          return await this.#bump(step);
        case 'training':
        case 'sft':
          return await this.#train(step, how);
        case 'evaluation':
          return await this.#evaluate(step, how);
        case 'report':
          return await this.#report();
      }
    } catch (error) {
      if (isCancellation(error)) throw error;
      return { state: 'parked', failure: failureOf(error, step), job: how.job };
    }
  }

  async #curate(step: CurationStep): Promise<StepEnd> {
    const { folder, datasets } = step;
    const { tokenizer, rootUrl, recipe } = this.bench;
    const launch = () =>
      startChild(curation, {
        ...this.#childOptions(step, `${datasets.length} datasets`),
        args: [{ folder, recipe, datasets, tokenizer, rootUrl }],
      });
    const made = await this.#curated(folder, launch);
    for (const { name, ref } of made) this.bench.datasets.set(name, ref);
    const tokens = made.reduce((sum, dataset) => sum + dataset.tokens, 0);
    return {
      ...FINISHED,
      state: made.every((dataset) => dataset.adopted) ? 'adopted' : 'done',
      change: { tokens, note: `${made.length} datasets` },
      artifacts: made.map(({ ref }) => ({ kind: 'dataset', url: ref.manifestUrl, digest: ref.digest })),
    };
  }

  async #bump(step: RopeBumpStep): Promise<StepEnd> {
    const { folder, configFrom, bump } = step;
    const { baseConfig, configs, runUrl } = this.bench;
    const config = configFrom === null ? baseConfig : configs.get(configFrom);
    if (config === undefined) throw new Error(`the walk reached ${folder} before ${String(configFrom)}`);
    const derived = await bumpRopeBase({ stageUrl: runLayout(runUrl).stage(folder), config, bump });
    configs.set(folder, derived);
    return {
      ...FINISHED,
      change: {
        note: `NTK suggests ${formatScientific(Number(bump.suggestion.toPrecision(3)))} for ${bump.lengthRatio}×`,
      },
      artifacts: [{ kind: 'config', ...derived }],
    };
  }

  async #train(step: TrainingStep, how: Try): Promise<StepEnd> {
    const settings = this.desk.recipe.stages[step.stage] ?? step.settings;
    const spec = trainSpec({ ...step, settings }, this.bench);
    const { data } = spec;
    const summary = `${data.steps} steps of ${data.globalBatchTokens} tokens, RoPE base ${settings.ropeTheta}`;
    const end = await this.#followed(spec, how, (job) =>
      startChild(trainingStage, {
        ...this.#childOptions(step, summary),
        args: [this.#stageInput(step, spec, { ...how, job })],
      }),
    );
    if (end.state !== 'done') return end;
    if (end.outcome.result !== 'trained')
      throw new Error(`${step.folder} trained, but its outcome says otherwise`);
    const { commit, model, lastLoss, step: steps, tokens } = end.outcome;
    const { stageUrl } = end;
    const checkpoint = { stageUrl, commit: commit.id, manifestDigest: commit.manifestDigest };
    this.bench.trained.set(step.stage, { checkpoint, model });
    return finished(end, { step: steps, tokens, loss: lastLoss }, [
      { kind: 'checkpoint', url: stageLayout(stageUrl).checkpoint(commit.id), digest: commit.manifestDigest },
      { kind: 'model', ...model },
    ]);
  }

  async #evaluate(step: EvaluationStep, how: Try): Promise<StepEnd> {
    const spec = evaluateSpec(step, this.bench);
    const end = await this.#followed(spec, how, (job) =>
      startChild(evaluation, {
        ...this.#childOptions(step, `${spec.targets.length} models, ${spec.tasks.length} tasks`),
        args: [this.#stageInput(step, spec, { ...how, job })],
      }),
    );
    if (end.state !== 'done') return end;
    if (end.outcome.result !== 'evaluated')
      throw new Error(`${step.folder} evaluated, but its outcome says otherwise`);
    const { samples, resultsDigest } = end.outcome;
    return finished(end, { step: samples, steps: samples }, [
      { kind: 'results', url: stageLayout(spec.stageUrl).results, digest: resultsDigest },
    ]);
  }

  async #report(): Promise<StepEnd> {
    const { run, runUrl, recipe, recipeDigest } = this.bench;
    const { url, digest } = await writeReport({
      run,
      runUrl,
      recipe,
      recipeDigest,
      status: this.board.status,
    });
    return {
      ...FINISHED,
      change: { note: url },
      artifacts: [{ kind: 'report', url, digest }],
      reportUrl: url,
    };
  }

  /** What a stage's workflow makes of its job. One that was lost is started anew, with what its attempts have used up. */
  async #followed(
    spec: StageInput['spec'],
    how: Try,
    launch: (job: JobState) => Promise<StageHandle>,
  ): Promise<JobEnd> {
    let { job } = how;
    for (let lost = 1; ; lost += 1) {
      await this.#children.settle(this.#childId(spec.stage));
      const end = await this.#whileReachable(await launch(job));
      if (end.state !== 'lost') return end;
      const { execution, cost } = this.desk.recipe;
      const settings = { trains: spec.kind === 'train', skipSteps: execution.numerics.skipSteps };
      const history = await stageHistory({ stageUrl: spec.stageUrl, after: job.ledger.records });
      job = { ...withHistory(job, history, settings), why: end.why };
      const { attempts, withoutCommit } = execution;
      const reaction = nextFor(job, attempts, { gpus: cost.gpus, withoutCommit });
      const why = lost >= MOST_LOST ? `its workflow was lost ${lost} times` : parkReason(reaction);
      if (why !== null) return { state: 'parked', job, failure: lostFailure(end, history, why) };
    }
  }

  async #curated(folder: string, launch: () => Promise<ChildWorkflowHandle<typeof curation>>) {
    for (let lost = 1; ; lost += 1) {
      await this.#children.settle(this.#childId(folder));
      const made = await this.#children.resultOf(await launch());
      if (!('state' in made)) return made;
      if (lost >= MOST_LOST) throw ApplicationFailure.nonRetryable(made.why, 'unknown');
    }
  }

  /** While the child runs, the operators' desk can reach it. */
  async #whileReachable(child: StageHandle): Promise<JobEnd | LostChild> {
    this.desk.running = {
      pause: () => unlessClosed(child.signal(pauseSignal)),
      setBudgets: (budgets) => unlessClosed(child.signal(budgetsSignal, budgets)),
    };
    try {
      if (this.desk.isPaused) await this.desk.stop();
      return await this.#children.resultOf(child);
    } finally {
      this.desk.running = null;
    }
  }

  #stageInput(step: Step, spec: StageInput['spec'], { job, force, specRevision }: Try): StageInput {
    const { run, rootUrl } = this.bench;
    const { execution, cost } = this.desk.recipe;
    return {
      run,
      rootUrl,
      folder: step.folder,
      title: step.title,
      spec,
      specRevision,
      execution,
      gpus: cost.gpus,
      assumedMeanSeconds: cost.interruptions.meanHoursBetween * 3600,
      force,
      state: job,
    };
  }

  #childId(folder: string): string {
    return `${this.bench.run}/${folder}`;
  }

  /** A reset parent replaces its old child instead of failing beside it; the ids are readable and always the same. */
  #childOptions(step: Step, summary: string) {
    return {
      workflowId: this.#childId(step.folder),
      workflowIdReusePolicy: 'TERMINATE_IF_RUNNING' as const,
      staticSummary: `${step.title}: ${summary}`,
    };
  }
}

/** The child of a stage, whichever kind it is. */
type StageHandle = ChildWorkflowHandle<(input: StageInput) => Promise<JobEnd>>;

/** Children of one step that may be lost in a row: somebody, or something, means it. */
const MOST_LOST = 3;

const FINISHED = { state: 'done', chain: null, reportUrl: null } as const;

function finished(
  end: Extract<JobEnd, { state: 'done' }>,
  change: StageChange,
  artifacts: readonly Artifact[],
): StepEnd {
  const { attempts, ledger } = end.job;
  const state = end.adopted === null ? 'done' : 'adopted';
  return {
    ...FINISHED,
    state,
    change: { ...change, attempts, note: end.adopted ?? '' },
    artifacts,
    chain: ledger,
  };
}

/** A stage may end while a message is on its way to it: then there is nothing left to tell it. */
async function unlessClosed(sent: Promise<void>): Promise<void> {
  try {
    await sent;
  } catch (error) {
    if (isCancellation(error)) throw error;
  }
}

function parkReason(reaction: Reaction): string | null {
  return reaction.kind === 'park' ? reaction.why : null;
}

/** What a stage whose workflow was lost parks with: how its newest attempt failed, if one did. */
function lostFailure({ why: lost }: LostChild, { ended }: StageHistory, why: string): JobFailure {
  const { class: failureClass, message } = ended.at(-1) ?? { class: 'unknown' as const, message: lost };
  return { class: failureClass, message, why: `${why}; ${lost}`, checkpoints: null, logTail: [] };
}

/** A step without attempts of its own has failed for good. */
function failureOf(error: unknown, { kind }: Step): JobFailure {
  return {
    class: failureClassOf(failureTypeOf(error)),
    message: innermostMessageOf(error),
    why: 'it would fail again in the same way',
    checkpoints: kind === 'training' || kind === 'sft' ? null : [],
    logTail: [],
  };
}
