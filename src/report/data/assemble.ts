/** From what was gathered to what the page shows. Pure. */
import { z } from 'zod';
import type { ModelRef, Outcome } from '../../contracts/index.js';
import { digestSchema } from '../../contracts/index.js';
import { NAMES, runLayout, stageLayout } from '../../contracts/layout.js';
import { canonicalJson } from '../../domain/lib/digest.js';
import { trainingFlops } from '../../domain/plan/cost.js';
import { plan } from '../../domain/plan/plan.js';
import type { StagePlan } from '../../domain/plan/plan.js';
import type { Architecture } from '../../domain/recipe/schema.js';
import type { StageStatus } from '../../domain/run/status.js';
import { walk } from '../../domain/walk/walk.js';
import { curveOf } from './curves.js';
import { secondsBetween } from '../page/format.js';
import { datasetsOfSpec } from './gathered.js';
import type { Gathered, GatheredAttempt, GatheredDataset, GatheredStage } from './gathered.js';
import { reportModels } from './models.js';
import { reportDataSchema } from './report-data.js';
import type {
  Artifact,
  PlanRow,
  ReportAttempt,
  ReportData,
  ReportDataset,
  ReportStage,
  RopeBump,
} from './report-data.js';
import { scoreTables } from './scores.js';

type TrainedOutcome = Extract<Outcome, { result: 'trained' }>;

function attemptOf({ epoch, outcome }: GatheredAttempt): ReportAttempt {
  if (outcome === null) {
    const unknown = { class: null, startedAt: null, endedAt: null, step: null, seconds: null };
    return { epoch, result: 'no-outcome', message: 'left no outcome', ...unknown };
  }
  const { result, startedAt, endedAt, step, seconds } = outcome;
  const why = outcome.result === 'ended' ? outcome : { class: null, message: '' };
  return { epoch, result, class: why.class, message: why.message, startedAt, endedAt, step, seconds };
}

function stageOf(status: StageStatus, gathered: GatheredStage | undefined): ReportStage {
  const { folder, title, kind, state, startedAt, endedAt, note } = status;
  const attempts = (gathered?.attempts ?? []).map(attemptOf);
  return { name: folder, label: title, kind, state, startedAt, endedAt, attempts, note };
}

/** How a training stage ended well; undefined when it did not, or not yet. */
function trainedOutcome(stage: GatheredStage | undefined): TrainedOutcome | undefined {
  return stage?.attempts.flatMap(({ outcome }) => (outcome?.result === 'trained' ? [outcome] : [])).at(-1);
}

function jobSeconds(stage: GatheredStage | undefined): number | null {
  const spans = (stage?.attempts ?? []).flatMap(({ outcome }) => {
    const seconds = outcome && secondsBetween(outcome.startedAt, outcome.endedAt);
    return seconds === null ? [] : [seconds];
  });
  return spans.length === 0 ? null : spans.reduce((sum, seconds) => sum + seconds, 0);
}

/** Σ document length² of the rows that were consumed, as `trainingFlops` takes it; null: not known. */
function consumedSquares(
  stage: GatheredStage,
  rows: number,
  datasets: readonly GatheredDataset[],
): number | null {
  if (stage.spec?.kind !== 'train') return null;
  const { dataset, documentMasking, sequenceLengthTokens } = stage.spec.data;
  if (!documentMasking) return rows * sequenceLengthTokens ** 2;
  const manifest = datasets.find(({ ref }) => ref.digest === dataset.digest)?.manifest;
  if (manifest === undefined) return null;
  const squares = manifest.shards.flatMap((shard) => shard.rowSumSquares).slice(0, rows);
  return squares.reduce((sum, square) => sum + square, 0);
}

/** Model FLOPs of the tokens a stage consumed, from the lengths of the documents it read. */
function actualFlops(
  stage: GatheredStage,
  tokens: number,
  architecture: Architecture,
  datasets: readonly GatheredDataset[],
): number | null {
  if (stage.spec?.kind !== 'train') return null;
  const squares = consumedSquares(stage, tokens / stage.spec.data.sequenceLengthTokens, datasets);
  return squares === null ? null : trainingFlops(architecture, tokens, squares);
}

function planRow(planned: StagePlan, stage: GatheredStage | undefined, gathered: Gathered): PlanRow {
  const outcome = trainedOutcome(stage);
  const { architecture } = gathered.request.recipe.base;
  const flops =
    stage === undefined || outcome === undefined
      ? null
      : actualFlops(stage, outcome.tokens, architecture, gathered.datasets);
  return {
    stage: planned.folder,
    label: planned.title,
    steps: { planned: planned.steps, actual: outcome?.step ?? null },
    tokens: { planned: planned.tokens, actual: outcome?.tokens ?? null },
    seconds: { planned: planned.effort.wallHours * 3600, actual: jobSeconds(stage) },
    flops: { planned: planned.effort.flops, actual: flops },
  };
}

function bumpsOf({ request }: Gathered): RopeBump[] {
  const steps = walk(request.recipe);
  const done = new Set(
    request.status.stages
      .filter(({ state }) => state === 'done' || state === 'adopted')
      .map(({ folder }) => folder),
  );
  return steps.flatMap((step) => {
    if (step.kind !== 'rope-bump' || !done.has(step.folder)) return [];
    const { bump } = step;
    const stage = steps.find(
      (other) => other.kind !== 'rope-bump' && 'stage' in other && other.stage === step.stage,
    );
    return [
      {
        stage: step.folder,
        label: stage?.title ?? step.title,
        fromTheta: bump.oldTheta,
        toTheta: bump.newTheta,
        suggestedTheta: bump.suggestion,
        fromLengthTokens: bump.oldLengthTokens,
        toLengthTokens: bump.targetLengthTokens,
      },
    ];
  });
}

function datasetOf({ ref, manifest }: GatheredDataset, gathered: Gathered): ReportDataset {
  const readers = gathered.stages.filter(
    ({ spec }) => spec !== null && datasetsOfSpec(spec).some(({ digest }) => digest === ref.digest),
  );
  const { name, sequenceLengthTokens, rows, tokens, domains, sources } = manifest;
  const usedBy = readers.map(({ folder }) => titleOf(gathered, folder));
  return { name, usedBy, sequenceLengthTokens, rows, tokens, domains, sources };
}

function titleOf({ request }: Gathered, folder: string): string {
  return request.status.stages.find((stage) => stage.folder === folder)?.title ?? folder;
}

function manifestOf(what: string, { url, digest }: ModelRef): Artifact {
  return { what, url, digest, of: NAMES.manifest };
}

function stageArtifacts(stage: GatheredStage, label: string): Artifact[] {
  const outcome = stage.attempts.at(-1)?.outcome;
  if (outcome?.result === 'evaluated') {
    return [
      {
        what: `${label}: results`,
        url: stageLayout(stage.url).results,
        digest: outcome.resultsDigest,
        of: null,
      },
    ];
  }
  const trained = trainedOutcome(stage);
  if (trained === undefined || stage.spec?.kind !== 'train') return [];
  const { config } = stage.spec;
  const checkpoint = {
    url: stageLayout(stage.url).checkpoint(trained.commit.id),
    digest: trained.commit.manifestDigest,
  };
  return [
    { what: `${label}: config it was trained with`, url: config.url, digest: config.digest, of: null },
    manifestOf(`${label}: final checkpoint`, checkpoint),
    {
      what: `${label}: weights`,
      url: trained.model.url,
      digest: trained.weightsDigest,
      of: 'all parameters',
    },
    manifestOf(`${label}: model`, trained.model),
  ];
}

/** The models that no stage of this run made, by the evaluations' specs. */
function baseModels(gathered: Gathered): Artifact[] {
  const refs = [...modelRefs(gathered).values()].filter(
    ({ url }) => !url.startsWith(gathered.request.runUrl),
  );
  return [...new Map(refs.map((ref) => [ref.digest, ref])).values()].map((ref) =>
    manifestOf('Base model', ref),
  );
}

function artifactsOf(gathered: Gathered): Artifact[] {
  const { runUrl } = gathered.request;
  const recipe = { what: 'Recipe', url: runLayout(runUrl).recipe, digest: null, of: null };
  const datasets = gathered.datasets.map(({ ref, manifest }) => ({
    what: `Dataset ${manifest.name}`,
    url: ref.manifestUrl,
    digest: ref.digest,
    of: null,
  }));
  return [
    recipe,
    ...baseModels(gathered),
    ...datasets,
    ...gathered.stages.flatMap((stage) => stageArtifacts(stage, titleOf(gathered, stage.folder))),
  ];
}

/** Where the evaluated models lie, by target name. */
function modelRefs({ stages }: Gathered): Map<string, ModelRef> {
  const targets = stages.flatMap(({ spec }) => (spec?.kind === 'evaluate' ? spec.targets : []));
  return new Map(targets.map(({ name, model }) => [name, model]));
}

function environmentsOf(gathered: Gathered): ReportData['environments'] {
  const distinct = new Map<string, ReportData['environments'][number]>();
  for (const { folder, attempts } of gathered.stages) {
    for (const { outcome } of attempts) {
      if (outcome === null || Object.keys(outcome.fingerprint).length === 0) continue;
      const key = canonicalJson(outcome.fingerprint);
      const known = distinct.get(key)?.stages ?? [];
      const stages = [...new Set([...known, titleOf(gathered, folder)])];
      distinct.set(key, { stages, fingerprint: outcome.fingerprint });
    }
  }
  return [...distinct.values()];
}

/** What the page is made of. @throws ZodError when what was gathered makes no report: a mistake in this program. */
export function assembleReport(gathered: Gathered): ReportData {
  const { request, stages } = gathered;
  const { recipe, status } = request;
  const models = reportModels(recipe, modelRefs(gathered));
  const byFolder = new Map(stages.map((stage) => [stage.folder, stage]));
  const trained = plan(recipe).stages;
  const data: z.input<typeof reportDataSchema> = {
    schema: 'longhaul.report/1',
    generatedAt: gathered.generatedAt,
    run: {
      name: request.run,
      url: request.runUrl,
      workflowId: request.run,
      startedAt: status.startedAt,
      temporalUiUrl: gathered.temporalUiUrl,
    },
    recipe: {
      preset: recipe.preset,
      digest: digestSchema.parse(request.recipeDigest),
      resolved: z.json().parse(JSON.parse(canonicalJson(recipe))),
    },
    models,
    scores: scoreTables(
      stages.flatMap(({ results }) => (results === null ? [] : [results])),
      models,
    ),
    training: trained.flatMap(({ folder, title }) => {
      const attempts = byFolder.get(folder)?.attempts ?? [];
      return attempts.length === 0 ? [] : [curveOf(folder, title, attempts)];
    }),
    stages: status.stages.map((stage) => stageOf(stage, byFolder.get(stage.folder))),
    plan: trained.map((planned) => planRow(planned, byFolder.get(planned.folder), gathered)),
    ropeBumps: bumpsOf(gathered),
    datasets: gathered.datasets.map((dataset) => datasetOf(dataset, gathered)),
    artifacts: artifactsOf(gathered),
    environments: environmentsOf(gathered),
    notes: [...gathered.notes],
  };
  return reportDataSchema.parse(data);
}
