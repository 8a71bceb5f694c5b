/**
 * The `recipe` workflow: walks the steps of a recipe from curation to report. Each step is durable: finished steps are never
 * repeated, and what they made is found in the object store under names that follow from the recipe.
 */
import {
  ApplicationFailure,
  allHandlersFinished,
  condition,
  executeChild,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { ConfigRef } from '../activities/rope-bump.js';
import type { DatasetRef, Digest, ModelRef } from '../src/contracts/index.js';
import { digestSchema } from '../src/contracts/common.js';
import { digestOf } from '../src/domain/digest.js';
import { RUN_NAME } from '../src/domain/job-names.js';
import { formatPlan, plan } from '../src/domain/plan.js';
import { formatProblems, parseRecipe } from '../src/domain/recipe.js';
import type { Problem, Recipe } from '../src/domain/recipe.js';
import { walk } from '../src/domain/walk.js';
import type { CurationStep, EvaluationStep, RopeBumpStep, Step, TrainingStep } from '../src/domain/walk.js';
import { bumpRopeBase, prepareRun, writeReport } from './activity-proxies.js';
import { curation } from './curation.js';
import { evaluation } from './evaluation.js';
import { evaluateSpec, stageUrl, trainSpec } from './job-specs.js';
import type { Inputs, TrainedModel } from './job-specs.js';
import { planQuery, stageProgressSignal, statusQuery } from './messages.js';
import { RunBoard } from './run-board.js';
import type { StageOutline } from './run-board.js';
import type { JobInput, JobResult } from './run-job.js';
import { trainingStage } from './training-stage.js';

/** What a completed run comes to. */
export interface RecipeResult {
  readonly run: string;
  readonly runUrl: string;
  readonly recipeDigest: string;
  /** `s3://…/report/index.html`. */
  readonly reportUrl: string | null;
  /** Final weights of every stage, as Hugging Face folders. */
  readonly models: Readonly<Record<string, ModelRef>>;
}

/**
 * Runs a recipe: a JSON object laid over a preset; `{}` or nothing means the `tiny` preset.
 * @throws ApplicationFailure of type `user-error`, with every problem and its path, when the recipe is refused; of a failure
 * class when a stage failed for good.
 */
export async function recipe(input?: unknown): Promise<RecipeResult> {
  const parsed = parseRecipe(input);
  const problems = [...(parsed.ok ? [] : parsed.problems), ...runNameProblems(workflowInfo().workflowId)];
  if (!parsed.ok || problems.length > 0) throw refusal(problems);
  const run = new RecipeRun(parsed.recipe);
  return run.execute();
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

function refusal(problems: readonly Problem[]): ApplicationFailure {
  return ApplicationFailure.create({
    type: 'user-error',
    nonRetryable: true,
    message: formatProblems(problems),
    details: [problems],
  });
}

/** A run of one recipe: its steps, what they have made so far, and its board. */
class RecipeRun {
  readonly #run = workflowInfo().workflowId;
  readonly #recipe: Recipe;
  readonly #recipeDigest: Digest;
  readonly #steps: readonly Step[];
  readonly #board: RunBoard;
  readonly #datasets = new Map<string, DatasetRef>();
  readonly #configs = new Map<string, ConfigRef>();
  readonly #trained = new Map<string, TrainedModel>();

  constructor(recipe: Recipe) {
    this.#recipe = recipe;
    this.#recipeDigest = digestSchema.parse(digestOf(recipe));
    this.#steps = walk(recipe);
    const outline = { run: this.#run, preset: recipe.preset, runUrl: '', recipeDigest: this.#recipeDigest };
    this.#board = new RunBoard(outline, this.#steps.map(outlineOf));
    this.#listen();
  }

  async execute(): Promise<RecipeResult> {
    try {
      const result = await this.#walk();
      this.#board.end('completed', [], result.reportUrl);
      await condition(allHandlersFinished);
      return result;
    } catch (error) {
      this.#board.end(isCancellation(error) ? 'cancelled' : 'failed', [messageOf(error)], null);
      throw error;
    }
  }

  #listen(): void {
    setHandler(statusQuery, () => this.#board.status, {
      description: 'Where the run is: every stage with state, step, loss and time',
    });
    setHandler(planQuery, () => formatPlan(plan(this.#recipe)), {
      description: 'What the recipe comes to: steps, tokens, FLOPs, hours, cost and checkpoints',
    });
    setHandler(stageProgressSignal, ({ folder, progress }) => this.#board.progress(folder, progress), {
      description: 'Newest progress of a stage (sent by the stage, not by people)',
    });
  }

  async #walk(): Promise<RecipeResult> {
    const { namespace, workflowId } = workflowInfo();
    const prepared = await prepareRun({
      run: this.#run,
      recipe: this.#recipe,
      recipeDigest: this.#recipeDigest,
      namespace,
      workflowId,
    });
    this.#board.locate(prepared.runUrl);
    const inputs: Inputs = {
      ...prepared,
      run: this.#run,
      recipe: this.#recipe,
      recipeDigest: this.#recipeDigest,
      datasets: this.#datasets,
      configs: this.#configs,
      trained: this.#trained,
    };
    let reportUrl: string | null = null;
    for (const step of this.#steps)
      reportUrl = (await this.#perform(step, inputs, prepared.rootUrl)) ?? reportUrl;
    const models = Object.fromEntries([...this.#trained].map(([stage, { model }]) => [stage, model]));
    return { run: this.#run, runUrl: prepared.runUrl, recipeDigest: this.#recipeDigest, reportUrl, models };
  }

  /** One step, with its row on the board; the report's URL if it was the report. */
  async #perform(step: Step, inputs: Inputs, rootUrl: string): Promise<string | null> {
    this.#board.start(step.folder);
    try {
      switch (step.kind) {
        case 'curation':
          await this.#curate(step, inputs, rootUrl);
          return null;
        case 'rope-bump':
          await this.#bump(step, inputs);
          return null;
        case 'training':
        case 'sft':
          await this.#train(step, inputs);
          return null;
        case 'evaluation':
          await this.#evaluate(step, inputs);
          return null;
        case 'report':
          return await this.#report(step, inputs);
      }
    } catch (error) {
      this.#board.fail(
        step.folder,
        isCancellation(error) ? 'cancelled' : 'failed',
        firstLine(messageOf(error)),
      );
      throw error;
    }
  }

  async #curate(step: CurationStep, inputs: Inputs, rootUrl: string): Promise<void> {
    const { folder, datasets } = step;
    const { recipe, tokenizer } = inputs;
    const made = await executeChild(curation, {
      ...this.#childOptions(step, `${datasets.length} datasets`),
      args: [{ folder, recipe, datasets, tokenizer, rootUrl }],
    });
    for (const { name, ref } of made) this.#datasets.set(name, ref);
    const tokens = made.reduce((sum, dataset) => sum + dataset.tokens, 0);
    const adopted = made.every((dataset) => dataset.adopted);
    this.#board.finish(folder, {
      tokens,
      note: `${made.length} datasets`,
      ...(adopted ? { state: 'adopted' } : {}),
    });
  }

  async #bump(step: RopeBumpStep, inputs: Inputs): Promise<void> {
    const { folder, configFrom, bump } = step;
    const config = configFrom === null ? inputs.baseConfig : this.#configs.get(configFrom);
    if (config === undefined) throw new Error(`the walk reached ${folder} before ${String(configFrom)}`);
    const derived = await bumpRopeBase({ stageUrl: stageUrl(inputs.runUrl, folder), config, bump });
    this.#configs.set(folder, derived);
    this.#board.finish(folder, {
      note: `NTK suggests ${bump.suggestion.toPrecision(3)} for ${bump.lengthRatio}×`,
    });
  }

  async #train(step: TrainingStep, inputs: Inputs): Promise<void> {
    const spec = trainSpec(step, inputs);
    const { data } = spec;
    const summary = `${data.steps} steps of ${data.globalBatchTokens} tokens, RoPE base ${step.settings.ropeTheta}`;
    const result = await executeChild(trainingStage, {
      ...this.#childOptions(step, summary),
      args: [{ ...this.#job(step, inputs, spec), title: step.title }],
    });
    if (result.outcome.result !== 'trained')
      throw new Error(`${step.folder} trained, but its outcome says otherwise`);
    const { commit, model, lastLoss, step: steps, tokens } = result.outcome;
    const checkpoint = { stageUrl: spec.stageUrl, commit: commit.id, manifestDigest: commit.manifestDigest };
    this.#trained.set(step.stage, { checkpoint, model });
    this.#finish(step, result, { step: steps, tokens, loss: lastLoss });
  }

  async #evaluate(step: EvaluationStep, inputs: Inputs): Promise<void> {
    const spec = evaluateSpec(step, inputs);
    const result = await executeChild(evaluation, {
      ...this.#childOptions(step, `${spec.targets.length} models, ${spec.tasks.length} tasks`),
      args: [{ ...this.#job(step, inputs, spec), title: step.title }],
    });
    if (result.outcome.result !== 'evaluated')
      throw new Error(`${step.folder} evaluated, but its outcome says otherwise`);
    const { samples } = result.outcome;
    this.#finish(step, result, { step: samples, steps: samples });
  }

  async #report(step: Step, inputs: Inputs): Promise<string> {
    const { runUrl, recipe, recipeDigest } = inputs;
    const { url } = await writeReport({
      run: this.#run,
      runUrl,
      recipe,
      recipeDigest,
      status: this.#board.status,
    });
    this.#board.finish(step.folder, { note: url });
    return url;
  }

  #job(step: Step, inputs: Inputs, spec: JobInput['spec']): JobInput {
    const { attempts, graceSeconds } = this.#recipe.execution;
    return {
      runUrl: inputs.runUrl,
      run: this.#run,
      folder: step.folder,
      spec,
      budgets: attempts,
      graceSeconds,
    };
  }

  #finish(step: Step, result: JobResult, change: Parameters<RunBoard['finish']>[1]): void {
    const attempts = result.attempts.length + (result.adopted ? 0 : 1);
    const state = result.adopted ? 'adopted' : 'done';
    this.#board.finish(step.folder, { ...change, state, attempts, note: '' });
  }

  /** A reset parent replaces its old child instead of failing beside it; the ids are readable and always the same. */
  #childOptions(step: Step, summary: string) {
    return {
      workflowId: `${this.#run}/${step.folder}`,
      workflowIdReusePolicy: 'TERMINATE_IF_RUNNING' as const,
      staticSummary: `${step.title}: ${summary}`,
    };
  }
}

function outlineOf(step: Step): StageOutline {
  const { folder, title, kind } = step;
  const steps =
    step.kind === 'training' || step.kind === 'sft'
      ? step.settings.tokens / step.settings.globalBatchTokens
      : null;
  return { folder, title, kind, steps };
}

/** What people should read of a failure: the innermost cause's message. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? messageOf(error.cause) : error.message;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
