/**
 * A recipe, from what the user wrote to the resolved form that everything downstream reads.
 *
 * Input: `{preset?: 'tiny' | 'prolong-8b', …overrides}`. `{}` is valid and means `tiny`. Overrides merge over the preset by
 * name: `{"stages": {"stage-1": {"steps": 3}}}` changes one number of one stage. Lists replace, `null` removes.
 */
import { checkRecipe } from './checks.js';
import type { CrossProblem } from './checks.js';
import { digestOf } from '../lib/digest.js';
import { isObject, tooMuchOf, valueAt, withValueAt, without } from '../lib/json.js';
import type { JsonObject, JsonPath } from '../lib/json.js';
import { DEFAULT_PRESET, PRESETS, isPresetName } from './presets/index.js';
import { PROBLEMS_TOLD, formatPath } from './problem.js';
import type { Problem } from './problem.js';
import { acceptedAt } from './json-schema.js';
import { mergeRecipe } from './merge.js';
import { recipeSchema } from './schema.js';
import type { Recipe } from './schema.js';

export * from './problem.js';
export * from './schema.js';

/** A resolved recipe, or everything that is wrong with it. */
export type ParsedRecipe =
  | { readonly ok: true; readonly recipe: Recipe }
  | {
      readonly ok: false;
      /** The first so many. */
      readonly problems: readonly Problem[];
      /** How many there are besides. */
      readonly untold: number;
    };

/** Largest recipe, as JSON, and deepest: the longest preset has 13 KB and eight levels. */
const LIMITS = { characters: 128 * 1024, levels: 32 };
/** Most stages, tasks and evaluations, each. */
const MOST_NAMED = 200;

/** Parses what a user wrote. Every problem is reported at once, each with its path; undefined is taken as `{}`. */
export function parseRecipe(input: unknown): ParsedRecipe {
  const written = input === undefined ? {} : input;
  if (!isObject(written)) {
    const accepted = 'a JSON object; {} means the tiny preset';
    return refused([{ path: '', message: `is ${nameOf(written)}`, accepted }]);
  }
  const excess = excessOf(written);
  if (excess.length > 0) return refused(excess);
  const given = without(written, '$schema');
  const preset = given['preset'] ?? DEFAULT_PRESET;
  if (!isPresetName(preset)) {
    const accepted = Object.keys(PRESETS).join(', ');
    const unknown = { path: 'preset', message: `there is no preset ${JSON.stringify(preset)}`, accepted };
    const { merged, problems } = mergeRecipe(PRESETS[DEFAULT_PRESET], without(given, 'preset'));
    return refused([unknown, ...problems, ...schemaProblems(merged).problems]);
  }
  return parseMerged(PRESETS[preset], { ...given, preset });
}

/** What there is too much of. It is told before anything else is looked at. */
function excessOf(written: JsonObject): Problem[] {
  switch (tooMuchOf(written, LIMITS)) {
    case 'characters':
      return [
        { path: '', message: 'is too large', accepted: `up to ${LIMITS.characters / 1024} KB of JSON` },
      ];
    case 'levels':
      return [{ path: '', message: 'is nested too deeply', accepted: `up to ${LIMITS.levels} levels` }];
    case null:
      return ['stages', 'tasks', 'evaluations'].flatMap((path) => {
        const count = Object.keys(ownObject(written, path)).length;
        return count <= MOST_NAMED
          ? []
          : [{ path, message: `there are ${count} of them`, accepted: `up to ${MOST_NAMED}` }];
      });
  }
}

function ownObject(object: JsonObject, key: string): JsonObject {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return isObject(value) ? value : {};
}

/** Parses a resolved recipe again, as frozen into a run. Nothing is merged or filled in. */
export function parseResolvedRecipe(frozen: unknown): ParsedRecipe {
  const excess = isObject(frozen) ? excessOf(frozen) : [];
  if (excess.length > 0) return refused(excess);
  const result = recipeSchema.safeParse(frozen);
  if (!result.success) return refused(schemaProblems(frozen).problems);
  const problems = checkRecipe(result.data).map(asProblem);
  return problems.length === 0 ? { ok: true, recipe: result.data } : refused(problems);
}

/** The recipe's identity: SHA-256 of the resolved recipe's canonical JSON. */
export function recipeDigest(recipe: Recipe): string {
  return digestOf(recipe);
}

function parseMerged(preset: JsonObject, overrides: JsonObject): ParsedRecipe {
  const { merged, problems: inputProblems } = mergeRecipe(preset, overrides);
  const result = recipeSchema.safeParse(merged);
  if (result.success && inputProblems.length === 0) {
    const crossProblems = checkRecipe(result.data).map(asProblem);
    return crossProblems.length === 0 ? { ok: true, recipe: result.data } : refused(crossProblems);
  }
  const schema = schemaProblems(merged);
  const many = schema.problems.length + inputProblems.length > PROBLEMS_TOLD;
  // Whoever has so much to mend learns of contradictions later: to mend it all here would take its time.
  if (many) return refused([...inputProblems, ...foldMissing(schema.problems)]);
  const inputTaints = inputProblems.map((problem) => taintOf(problem.path));
  // A field that is missing because of a refused `steps` or `like` would only repeat that problem.
  const fresh = schema.problems.filter(
    (problem) => problem.message !== MISSING || !inputTaints.some((path) => overlaps(path, problem.path)),
  );
  const mended = mend(merged, preset);
  const tainted = [...inputTaints, ...mended.paths.map(formatPath)];
  const cross =
    mended.recipe === undefined
      ? []
      : checkRecipe(mended.recipe)
          .slice(0, CROSS_CHECKED)
          .filter((one) => !touches(one, tainted));
  return refused([...inputProblems, ...foldMissing(fresh), ...cross.map(asProblem)]);
}

/** Contradictions that are compared with what else is wrong. */
const CROSS_CHECKED = 2 * PROBLEMS_TOLD;

const MISSING = 'is missing';

/** A new stage that lacks most of its fields is one problem, not a dozen. */
function foldMissing(problems: readonly Problem[]): Problem[] {
  const lacking = new Map<string, string[]>();
  for (const { path, message } of problems) {
    const [, stage, field] = /^(stages\.[^.]+)\.([^.]+)$/.exec(path) ?? [];
    if (stage === undefined || field === undefined || message !== MISSING) continue;
    lacking.set(stage, [...(lacking.get(stage) ?? []), field]);
  }
  const folded = [...lacking].filter(([, fields]) => fields.length > 3);
  const rest = problems.filter(
    ({ path, message }) => message !== MISSING || !folded.some(([stage]) => path.startsWith(`${stage}.`)),
  );
  const accepted = 'all of them, or "like" with the name of a stage that has them';
  return [
    ...folded.map(([path, fields]) => ({ path, message: `${fields.join(', ')} are missing`, accepted })),
    ...rest,
  ];
}

function refused(problems: readonly Problem[]): ParsedRecipe {
  return {
    ok: false,
    problems: problems.slice(0, PROBLEMS_TOLD),
    untold: Math.max(0, problems.length - PROBLEMS_TOLD),
  };
}

function asProblem({ path, message, accepted }: CrossProblem): Problem {
  return { path, message, accepted };
}

interface SchemaProblems {
  readonly problems: readonly Problem[];
  /** Values at fault or missing. */
  readonly paths: readonly JsonPath[];
  /** Keys that should not be there. */
  readonly unknownKeys: readonly JsonPath[];
}

/** What the schema says about a value: its problems, and where they lie. */
function schemaProblems(value: unknown): SchemaProblems {
  const result = recipeSchema.safeParse(value);
  const problems: Problem[] = [];
  const paths: JsonPath[] = [];
  const unknownKeys: JsonPath[] = [];
  for (const issue of result.success ? [] : result.error.issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const path = [...issue.path, key];
        unknownKeys.push(path);
        problems.push({
          path: formatPath(path),
          message: 'unknown key',
          accepted: problems.length > PROBLEMS_TOLD ? undefined : acceptedAt(issue.path, 'keys'),
        });
      }
      continue;
    }
    paths.push(issue.path);
    const missing = valueAt(value, issue.path) === undefined;
    const message =
      issue.code === 'invalid_key' ? issue.issues.map((one) => one.message).join('; ') : issue.message;
    problems.push({
      path: formatPath(issue.path),
      message: missing ? MISSING : lowerFirst(message),
      accepted:
        issue.code === 'invalid_key' || problems.length > PROBLEMS_TOLD
          ? undefined
          : acceptedAt(issue.path, 'value'),
    });
  }
  return { problems, paths, unknownKeys };
}

/**
 * A recipe close to a faulty one that does parse, so that the checks across fields can speak at the same time: what is at fault is
 * taken from the preset, else removed, going one level up each round. `paths` are the values that were replaced.
 */
function mend(
  merged: unknown,
  preset: JsonObject,
): { recipe: Recipe | undefined; paths: readonly JsonPath[] } {
  const replaced: JsonPath[] = [];
  let value = merged;
  for (let level = 0; level < 8; level += 1) {
    const result = recipeSchema.safeParse(value);
    if (result.success) return { recipe: result.data, paths: replaced };
    const { paths, unknownKeys } = schemaProblems(value);
    value = unknownKeys.reduce((rest, path) => withValueAt(rest, path, undefined), value);
    const targets = paths.map((path) => path.slice(0, Math.max(1, path.length - level)));
    for (const target of [...targets].sort(laterItemsFirst)) {
      value = withValueAt(value, target, valueAt(preset, target));
    }
    replaced.push(...targets);
  }
  return { recipe: undefined, paths: replaced };
}

/** Removing an item of a list moves those behind it, so the last goes first. */
function laterItemsFirst(a: JsonPath, b: JsonPath): number {
  const difference = a.findIndex((part, index) => part !== b[index]);
  const [left, right] = [a[difference], b[difference]];
  return typeof left === 'number' && typeof right === 'number' ? right - left : 0;
}

function touches(problem: CrossProblem, tainted: readonly string[]): boolean {
  return [problem.path, ...problem.involves].some((path) => tainted.some((other) => overlaps(path, other)));
}

function overlaps(a: string, b: string): boolean {
  return (
    a === b ||
    a.startsWith(`${b}.`) ||
    a.startsWith(`${b}[`) ||
    b.startsWith(`${a}.`) ||
    b.startsWith(`${a}[`)
  );
}

/** What a refused `steps` or `like` leaves unknown. */
function taintOf(path: string): string {
  const stage = path.slice(0, path.lastIndexOf('.'));
  return path.endsWith('.steps') ? `${stage}.tokens` : stage;
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}
