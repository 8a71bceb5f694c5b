/** What a run was made of: the inputs in its jobs' specs, against what the ledger says was made before. */
import type { JobSpec } from '../contracts/index.js';
import type { Artifact } from '../domain/ledger/records.js';
import { isBelow, runLayout, stageLayout } from '../contracts/layout.js';
import { checkOf } from './audit-data.js';
import type { Check, Difference } from './audit-data.js';
import { count } from './chains.js';
import { recordsOf } from './gathered.js';
import type { GatheredRun, GatheredStage } from './gathered.js';

/** The artifacts that the ledger names: of each object the newest record. */
export function recordedArtifacts(run: GatheredRun): Artifact[] {
  const newest = new Map<string, Artifact>();
  for (const { entry } of recordsOf(run.chain, 'stage-ended')) {
    for (const artifact of entry.artifacts) newest.set(artifact.url, artifact);
  }
  return [...newest.values()];
}

/** What any stage has made, whether or not it was made anew since. */
function recordedDigests(run: GatheredRun): Set<string> {
  return new Set(
    recordsOf(run.chain, 'stage-ended').flatMap(({ entry }) => entry.artifacts.map(({ digest }) => digest)),
  );
}

/** Inputs that no stage of the run has made, each once: the base model, its tokenizer and config. */
export function unrecordedInputs(run: GatheredRun): Artifact[] {
  const recorded = recordedDigests(run);
  const inputs = run.stages.flatMap((stage) => specsOf(stage).flatMap(({ spec }) => inputsOf(spec)));
  const distinct = new Map(inputs.map((input) => [`${input.url} ${input.digest}`, input]));
  return [...distinct.values()].filter(({ digest }) => !recorded.has(digest));
}

/** The specs of a stage that can be read. */
function specsOf({ specs }: GatheredStage): { readonly revision: number; readonly spec: JobSpec }[] {
  return specs.flatMap(({ revision, spec }) => (spec === null ? [] : [{ revision, spec }]));
}

/**
 * Every spec is the one that the stage's attempts were opened with; every job is of the run's recipe, and every dataset that it
 * reads, and everything that it takes from another stage, is what the ledger says was made.
 */
export function checkInputs(run: GatheredRun): Check {
  const recorded = recordedDigests(run);
  const recipes = new Set<string>(recordsOf(run.chain, 'run-opened').map(({ entry }) => entry.recipeDigest));
  const { stages } = runLayout(run.runUrl);
  const differences: Difference[] = [];
  let inputs = 0;
  for (const stage of run.stages) {
    differences.push(...specDifferences(stage));
    for (const { revision, spec } of specsOf(stage)) {
      const used = inputsOf(spec);
      const object = stageLayout(stage.url).specOf(revision);
      if (!recipes.has(spec.recipeDigest)) {
        const message = `is of the recipe ${spec.recipeDigest}, with which the run was never opened`;
        differences.push({ object, message });
      }
      inputs += used.length;
      const unknown = used.filter(
        ({ kind, url, digest }) => !recorded.has(digest) && (kind === 'dataset' || isBelow(stages, url)),
      );
      differences.push(
        ...unknown.map(({ kind, url, digest }) => ({
          object,
          message: `takes the ${kind} ${url} with the digest ${digest}, which the ledger does not know`,
        })),
      );
    }
  }
  const specs = run.stages.reduce((sum, stage) => sum + stage.specs.length, 0);
  const summary = `${count(specs, 'job spec')} against the ledger, ${count(inputs, 'input')} of the jobs against what was made`;
  return checkOf('inputs', summary, differences, specNotes(run));
}

/** The specs that the stage's records name, each once, with the number of the first record. */
function namedSpecs({ chain }: GatheredStage) {
  const named = new Map<
    string,
    { readonly revision: number; readonly digest: string; readonly index: number }
  >();
  for (const { entry, index } of [
    ...recordsOf(chain, 'attempt-opened'),
    ...recordsOf(chain, 'stage-adopted'),
  ]) {
    const key = JSON.stringify(entry.spec);
    if (entry.spec !== undefined && !named.has(key)) named.set(key, { ...entry.spec, index });
  }
  return [...named.values()];
}

function specDifferences(stage: GatheredStage): Difference[] {
  return namedSpecs(stage).flatMap(({ revision, digest, index }) => {
    const found = stage.specs.find((one) => one.revision === revision);
    if (found?.digest === digest) return [];
    const now = found === undefined ? 'is gone' : `has the digest ${found.digest}`;
    const message = `${now}; record ${index} of the stage’s ledger names ${digest}`;
    return [{ object: stageLayout(stage.url).specOf(revision), message }];
  });
}

/** Records of earlier versions do not name the spec: then nothing says whether it was changed. */
function specNotes(run: GatheredRun): string[] {
  const silent = run.stages.flatMap(({ chain }) =>
    recordsOf(chain, 'attempt-opened').filter(({ entry }) => entry.spec === undefined),
  );
  if (silent.length === 0) return [];
  return [
    `${count(silent.length, 'attempt')} of an earlier version: the ledger does not name their specs’ digests`,
  ];
}

function inputsOf(spec: JobSpec): Artifact[] {
  if (spec.kind === 'evaluate') {
    return [
      ...spec.targets.map(({ model }): Artifact => ({ kind: 'model', ...model })),
      ...spec.tasks.flatMap((task): Artifact[] => {
        if (task.task === 'kv-recall') return [];
        return [datasetArtifact(task.task === 'needle' ? task.haystack : task.dataset)];
      }),
    ];
  }
  return [
    initialArtifact(spec.initialize),
    { kind: 'config', ...spec.config },
    { kind: 'model', ...spec.tokenizer },
    datasetArtifact(spec.data.dataset),
  ];
}

function datasetArtifact({ manifestUrl, digest }: { manifestUrl: string; digest: string }): Artifact {
  return { kind: 'dataset', url: manifestUrl, digest };
}

function initialArtifact(initialize: Extract<JobSpec, { kind: 'train' }>['initialize']): Artifact {
  if (initialize.from === 'model') return { kind: 'model', ...initialize.model };
  const { stageUrl, commit, manifestDigest } = initialize.checkpoint;
  return { kind: 'checkpoint', url: stageLayout(stageUrl).checkpoint(commit), digest: manifestDigest };
}
