/**
 * From a recipe's tree of stages to its durable steps, in the order in which they run, each with the folder it has below the
 * run's `stages/`. Pure and a function of the resolved recipe alone, so that a replayed or reset workflow walks the same way.
 *
 * Order: curation; then evaluations as soon as all they evaluate is there; then stages, depth first, siblings by name, each after
 * the RoPE bump it needs; the report last. `dependsOn` says what a step really waits for: branches may run side by side.
 */
import { datasetsOf } from './datasets.js';
import type { DatasetPlan } from './datasets.js';
import { sortedEntries } from '../lib/json.js';
import { formatLength, formatScientific } from '../recipe/quantities.js';
import { BASE } from '../recipe/schema.js';
import type { Recipe, RecipeEvaluation, RecipeTask, TrainingStage } from '../recipe/schema.js';
import { headWidthOf, ropeBump } from './rope.js';
import type { RopeBump } from './rope.js';

interface StepBase {
  /** `<nn-name>`: the folder below `stages/`, and the end of the child workflow's id. */
  readonly folder: string;
  /** For people: "Stage 1, 64K". */
  readonly title: string;
  /** Folders of the steps that must be done before. */
  readonly dependsOn: readonly string[];
}

/** Weights a step takes: the base model's, or the final ones of a stage. */
export type ModelSource =
  { readonly from: 'base' } | { readonly from: 'stage'; readonly stage: string; readonly folder: string };

/** Makes every dataset of the recipe. */
export interface CurationStep extends StepBase {
  readonly kind: 'curation';
  readonly datasets: readonly DatasetPlan[];
}

/** Derives the config.json a stage trains with. There is one where the RoPE base changes or sequences become longer. */
export interface RopeBumpStep extends StepBase {
  readonly kind: 'rope-bump';
  /** Stage it is for. */
  readonly stage: string;
  /** The model the stage starts from. */
  readonly source: ModelSource;
  /** Folder of the bump whose config.json is changed; null: the base model's. */
  readonly configFrom: string | null;
  readonly bump: RopeBump;
}

/** Trains a stage: continued training, or SFT where the objective is masked tokens. */
export interface TrainingStep extends StepBase {
  readonly kind: 'training' | 'sft';
  /** Name of the stage, its key in `recipe.stages` and the name of its dataset. */
  readonly stage: string;
  readonly source: ModelSource;
  /** Folder of the bump whose config.json applies; null: the base model's. */
  readonly configFrom: string | null;
  /** Longest sequence its model is made for: `max_position_embeddings`. */
  readonly maxPositionEmbeddings: number;
  readonly settings: TrainingStage;
}

/** A model to evaluate. */
export interface EvaluationTargetStep {
  readonly name: string;
  readonly source: ModelSource;
  /** Another RoPE base than the model's own; undefined: none. */
  readonly ropeTheta: number | undefined;
  /** RoPE base it is evaluated with. */
  readonly effectiveTheta: number;
  /** Longest sequence the weights were trained on, tokens. */
  readonly trainedLengthTokens: number;
}

/** Evaluates targets on tasks. */
export interface EvaluationStep extends StepBase {
  readonly kind: 'evaluation';
  /** Its key in `recipe.evaluations`. */
  readonly evaluation: string;
  readonly targets: readonly EvaluationTargetStep[];
  readonly tasks: readonly { readonly name: string; readonly settings: RecipeTask }[];
}

/** Writes the report. */
export interface ReportStep extends StepBase {
  readonly kind: 'report';
}

/** A durable step of a run. */
export type Step = CurationStep | RopeBumpStep | TrainingStep | EvaluationStep | ReportStep;

/** What is known about a model once the steps that make it are on the list. */
interface KnownModel {
  readonly source: ModelSource;
  readonly ropeTheta: number;
  readonly lengthTokens: number;
  readonly configFrom: string | null;
}

/** Every step of a recipe in the order in which they run. The recipe is one that `parseRecipe` accepted. */
export function walk(recipe: Recipe): Step[] {
  return new Walk(recipe).steps;
}

/** Folders of the steps that can't do without a step. A report tells of what there is. */
export function neededBy(steps: readonly Step[], folder: string): string[] {
  return steps
    .filter(({ kind, dependsOn }) => kind !== 'report' && dependsOn.includes(folder))
    .map((step) => step.folder);
}

class Walk {
  readonly steps: Step[] = [];
  readonly #recipe: Recipe;
  readonly #models = new Map<string, KnownModel>();
  readonly #waiting: Map<string, RecipeEvaluation>;
  readonly #curation: string;

  constructor(recipe: Recipe) {
    this.#recipe = recipe;
    this.#waiting = new Map(sortedEntries(recipe.evaluations));
    this.#curation = this.#folder('curation');
    this.steps.push({
      kind: 'curation',
      folder: this.#curation,
      title: 'Curation',
      dependsOn: [],
      datasets: datasetsOf(recipe),
    });
    const { ropeTheta, lengthTokens } = recipe.base;
    this.#know(BASE, { source: { from: 'base' }, ropeTheta, lengthTokens, configFrom: null });
    this.#addReport();
  }

  /** A new model: evaluations that waited for it come first, then what starts from it. */
  #know(name: string, model: KnownModel): void {
    this.#models.set(name, model);
    this.#addReadyEvaluations();
    for (const [child, stage] of sortedEntries(this.#recipe.stages)) {
      if (stage.from === name) this.#addStage(child, stage, model);
    }
  }

  #addStage(name: string, stage: TrainingStage, start: KnownModel): void {
    const bumpFolder = this.#addBump(name, stage, start);
    const configFrom = bumpFolder ?? start.configFrom;
    const maxPositionEmbeddings = Math.max(start.lengthTokens, stage.sequenceLengthTokens);
    const folder = this.#folder(name);
    this.steps.push({
      kind: stage.objective === 'masked-tokens' ? 'sft' : 'training',
      folder,
      title: `${titleOf(name)}, ${formatLength(stage.sequenceLengthTokens)}`,
      dependsOn: [
        this.#curation,
        ...foldersOf(start.source),
        ...(bumpFolder === undefined ? [] : [bumpFolder]),
      ],
      stage: name,
      source: start.source,
      configFrom,
      maxPositionEmbeddings,
      settings: stage,
    });
    this.#know(name, {
      source: { from: 'stage', stage: name, folder },
      ropeTheta: stage.ropeTheta,
      lengthTokens: maxPositionEmbeddings,
      configFrom,
    });
  }

  /** The bump before a stage: its folder, undefined where the stage needs none. */
  #addBump(name: string, stage: TrainingStage, start: KnownModel): string | undefined {
    if (stage.ropeTheta === start.ropeTheta && stage.sequenceLengthTokens <= start.lengthTokens)
      return undefined;
    const folder = this.#folder(`rope-${name}`);
    const change = `${formatScientific(start.ropeTheta)} to ${formatScientific(stage.ropeTheta)}`;
    this.steps.push({
      kind: 'rope-bump',
      folder,
      title: `RoPE base ${change}`,
      dependsOn: foldersOf(start.source),
      stage: name,
      source: start.source,
      configFrom: start.configFrom,
      bump: ropeBump({
        oldTheta: start.ropeTheta,
        newTheta: stage.ropeTheta,
        oldLengthTokens: start.lengthTokens,
        sequenceLengthTokens: stage.sequenceLengthTokens,
        headWidth: headWidthOf(this.#recipe.base.architecture),
        ropeScaling: this.#recipe.base.ropeScaling,
      }),
    });
    return folder;
  }

  #addReadyEvaluations(): void {
    for (const [name, evaluation] of this.#waiting) {
      const targets = this.#targetsOf(evaluation);
      if (targets === undefined) continue;
      this.#waiting.delete(name);
      const needed = new Set(targets.flatMap((target) => foldersOf(target.source)));
      this.steps.push({
        kind: 'evaluation',
        folder: this.#folder(name),
        title: titleOf(name),
        dependsOn: [this.#curation, ...needed],
        evaluation: name,
        targets,
        tasks: evaluation.tasks.flatMap((task) => {
          const settings = this.#recipe.tasks[task];
          return settings === undefined ? [] : [{ name: task, settings }];
        }),
      });
    }
  }

  /** The evaluation's targets, models in the order in which they are made; undefined while one is still to be made. */
  #targetsOf(evaluation: RecipeEvaluation): EvaluationTargetStep[] | undefined {
    const entries = sortedEntries(evaluation.targets);
    if (entries.some(([, { model }]) => !this.#models.has(model))) return undefined;
    return [...this.#models].flatMap(([made, { source, ropeTheta: ownTheta, lengthTokens }]) =>
      entries
        .filter(([, { model }]) => model === made)
        .map(([name, { ropeTheta }]) => ({
          name,
          source,
          ropeTheta,
          effectiveTheta: ropeTheta ?? ownTheta,
          trainedLengthTokens: lengthTokens,
        })),
    );
  }

  #addReport(): void {
    const dependsOn = this.steps.map((step) => step.folder);
    this.steps.push({ kind: 'report', folder: this.#folder('report'), title: 'Report', dependsOn });
  }

  #folder(name: string): string {
    return `${String(this.steps.length + 1).padStart(2, '0')}-${name}`;
  }
}

function foldersOf(source: ModelSource): string[] {
  return source.from === 'stage' ? [source.folder] : [];
}

/** "stage-1" as people read it: "Stage 1". Up to three letters are an abbreviation: "SFT". */
export function titleOf(name: string): string {
  const words = name.replaceAll('-', ' ');
  return /^[a-z]{2,3}$/.test(words) ? words.toUpperCase() : words.charAt(0).toUpperCase() + words.slice(1);
}
