/** What a recipe's fields must be to each other. The schema has seen to every field by itself. */
import { formatLength, formatScientific } from './quantities.js';
import type { Problem } from './problem.js';
import { BASE, rowsOf } from './schema.js';
import type { MixPart, Recipe, RecipeTask, TrainingStage } from './schema.js';
import type { Source } from './sources.js';

/** A problem, and the fields besides `path` that it was concluded from. */
export interface CrossProblem extends Problem {
  readonly involves: readonly string[];
}

/** Every contradiction of a recipe, in the order of its fields. */
export function checkRecipe(recipe: Recipe): CrossProblem[] {
  const stages = Object.entries(recipe.stages);
  return [
    ...checkBase(recipe),
    ...checkLookups(recipe),
    ...stages.flatMap(([name, stage]) => checkStage(recipe, name, stage)),
    ...checkTree(recipe),
    ...checkNames(recipe),
    ...Object.entries(recipe.tasks).flatMap(([name, task]) => checkTask(recipe, name, task)),
    ...checkEvaluations(recipe),
    ...checkApprovals(recipe),
    ...checkCost(recipe),
  ];
}

function problem(
  path: string,
  message: string,
  accepted?: string,
  involves: readonly string[] = [],
): CrossProblem {
  return { path, message, accepted, involves };
}

function checkApprovals({ execution, stages }: Recipe): CrossProblem[] {
  const names = Object.keys(stages);
  return execution.approvals.flatMap((name, index) =>
    names.includes(name)
      ? []
      : [
          problem(
            `execution.approvals[${index}]`,
            `there is no stage ${JSON.stringify(name)} to approve`,
            names.join(', '),
          ),
        ],
  );
}

function checkBase({ base, tokenizer, stages }: Recipe): CrossProblem[] {
  const { width, heads, keyValueHeads, vocabularySize } = base.architecture;
  const path = 'base.architecture';
  const problems: CrossProblem[] = [];
  if (width % heads !== 0 || (width / heads) % 2 !== 0) {
    const message = `width ${width} is no even number per head at ${heads} heads`;
    problems.push(problem(`${path}.width`, message, `a multiple of ${2 * heads}`, [`${path}.heads`]));
  }
  if (heads % keyValueHeads !== 0) {
    const message = `${keyValueHeads} key-value heads do not divide ${heads} heads`;
    problems.push(problem(`${path}.keyValueHeads`, message, `a divisor of ${heads}`, [`${path}.heads`]));
  }
  if (tokenizer.vocabularySize !== vocabularySize) {
    const message = `the tokenizer has ${tokenizer.vocabularySize} tokens, the model’s vocabulary ${vocabularySize}`;
    problems.push(
      problem('tokenizer.vocabularySize', message, 'the tokenizer the model was trained with', [
        `${path}.vocabularySize`,
      ]),
    );
  }
  if (Object.keys(stages).length === 0) problems.push(problem('stages', 'there is no stage', 'at least one'));
  return problems;
}

/** Generated lookup tables take a share of a domain's rows; files must be there for the rest. */
function checkLookups({ data }: Recipe): CrossProblem[] {
  return Object.entries(data.sources).flatMap(([domain, sources]) => {
    const path = `data.sources.${domain}`;
    const share = sources.reduce((sum, source) => sum + (source.kind === 'lookups' ? source.share : 0), 0);
    if (share > 1) return [problem(path, `lookups have ${share} of its rows`, 'lookups with shares up to 1')];
    if (share === 0 || share === 1 || sources.some((source) => source.kind !== 'lookups')) return [];
    return [
      problem(
        path,
        `lookups have ${share} of its rows, and nothing has the rest`,
        'a source of files besides',
      ),
    ];
  });
}

function checkStage(recipe: Recipe, name: string, stage: TrainingStage): CrossProblem[] {
  const path = `stages.${name}`;
  return [...checkLengths(path, stage), ...checkMix(recipe, path, stage), ...checkSchedule(path, stage)];
}

function checkLengths(path: string, stage: TrainingStage): CrossProblem[] {
  const { sequenceLengthTokens: row, globalBatchTokens: batch, tokens } = stage;
  const problems: CrossProblem[] = [];
  if (batch % row !== 0) {
    const message = `a global batch of ${batch} tokens is no whole number of rows of ${row}`;
    const accepted = `a multiple of ${row}, such as ${row * Math.max(1, Math.round(batch / row))}`;
    problems.push(problem(`${path}.globalBatchTokens`, message, accepted, [`${path}.sequenceLengthTokens`]));
  }
  if (tokens % batch !== 0) {
    const message = `${tokens} tokens are no whole number of steps of ${batch}`;
    const below = Math.floor(tokens / batch);
    const accepted = [below, below + 1]
      .filter((steps) => steps > 0)
      .map((steps) => `${steps * batch} (${steps} ${steps === 1 ? 'step' : 'steps'})`);
    problems.push(problem(`${path}.tokens`, message, accepted.join(' or '), [`${path}.globalBatchTokens`]));
  }
  return problems;
}

/** Sums of decimal shares miss 1 by rounding only. */
const SHARE_TOLERANCE = 1e-9;

function checkMix(recipe: Recipe, path: string, stage: TrainingStage): CrossProblem[] {
  const sum = stage.mix.reduce((total, part) => total + part.share, 0);
  const problems = stage.mix.flatMap((part, index) => checkPart(recipe, path, stage, part, index));
  if (Math.abs(sum - 1) <= SHARE_TOLERANCE) return problems;
  const message = `the shares add up to ${Number(sum.toFixed(9))}`;
  return [...problems, problem(`${path}.mix`, message, 'shares that add up to 1')];
}

function checkPart(
  recipe: Recipe,
  stagePath: string,
  stage: TrainingStage,
  part: MixPart,
  index: number,
): CrossProblem[] {
  const path = `${stagePath}.mix[${index}]`;
  const problems: CrossProblem[] = [];
  const sources = recipe.data.sources[part.domain];
  if (sources === undefined) {
    const known = Object.keys(recipe.data.sources).join(', ');
    const message = `there are no sources for the domain "${part.domain}"`;
    problems.push(problem(`${path}.domain`, message, known, [`data.sources.${part.domain}`]));
  } else if (stage.objective === 'masked-tokens' && !sources.every(hasAssistantTurns)) {
    const message = `"${part.domain}" has sources without assistant turns, which SFT (masked-tokens) learns from`;
    problems.push(
      problem(`${path}.domain`, message, chatDomains(recipe), [
        `${stagePath}.objective`,
        `data.sources.${part.domain}`,
      ]),
    );
  }
  const twin = stage.mix.findIndex(
    (other) => other.domain === part.domain && other.lengthTokens === part.lengthTokens,
  );
  if (twin < index) {
    problems.push(problem(path, `says again what mix[${twin}] says`, 'one entry per domain and length'));
  }
  return [...problems, ...checkPartLength(stagePath, path, stage, part)];
}

function checkPartLength(
  stagePath: string,
  path: string,
  stage: TrainingStage,
  part: MixPart,
): CrossProblem[] {
  const { lengthTokens: length } = part;
  const row = stage.sequenceLengthTokens;
  if (length === null) return [];
  if (stage.objective === 'masked-tokens') {
    const message = 'conversations are packed whole, they have no set length';
    return [problem(`${path}.lengthTokens`, message, 'null', [`${stagePath}.objective`])];
  }
  if (row % length === 0) return [];
  const message = `documents of ${formatLength(length)} do not fill rows of ${formatLength(row)}`;
  return [
    problem(`${path}.lengthTokens`, message, `a divisor of ${row}`, [`${stagePath}.sequenceLengthTokens`]),
  ];
}

/** Only conversations have turns of an assistant to learn from. */
function hasAssistantTurns(source: Source): boolean {
  return source.kind === 'chats';
}

function chatDomains(recipe: Recipe): string {
  const names = Object.entries(recipe.data.sources)
    .filter(([, sources]) => sources.every(hasAssistantTurns))
    .map(([name]) => name);
  return names.length === 0 ? 'a domain of conversations; the recipe has none' : names.join(', ');
}

function checkSchedule(path: string, { schedule }: TrainingStage): CrossProblem[] {
  if (schedule.floor <= schedule.peak) return [];
  const message = `the floor ${schedule.floor} is above the peak ${schedule.peak}`;
  return [problem(`${path}.schedule.floor`, message, `0 to ${schedule.peak}`, [`${path}.schedule.peak`])];
}

/** What stages start from. */
function checkTree(recipe: Recipe): CrossProblem[] {
  return Object.entries(recipe.stages).flatMap(([name, stage]) => {
    const path = `stages.${name}`;
    if (stage.from !== BASE && recipe.stages[stage.from] === undefined) {
      const message = `there is no stage "${stage.from}" to start from`;
      return [problem(`${path}.from`, message, modelNames(recipe, name), [`stages.${stage.from}`])];
    }
    const circle = circleFrom(recipe, name);
    if (circle !== undefined) {
      const message = `starts from itself: ${circle.join(' ← ')}`;
      return [
        problem(
          `${path}.from`,
          message,
          'a chain that ends at "base"',
          circle.map((one) => `stages.${one}.from`),
        ),
      ];
    }
    return [...checkMoments(path, stage), ...checkTheta(recipe, path, stage)];
  });
}

/** The names from a stage back to itself, undefined where its chain ends elsewhere. */
function circleFrom(recipe: Recipe, name: string): string[] | undefined {
  const seen = [name];
  let from = recipe.stages[name]?.from;
  while (from !== undefined && from !== BASE && from !== name) {
    if (seen.includes(from)) return undefined;
    seen.push(from);
    from = recipe.stages[from]?.from;
  }
  return from === name ? [...seen, name] : undefined;
}

function checkMoments(path: string, stage: TrainingStage): CrossProblem[] {
  if (stage.from !== BASE || stage.moments === 'fresh') return [];
  const message = 'the base model comes without Adam moments to carry';
  return [problem(`${path}.moments`, message, '"fresh", or another stage in `from`', [`${path}.from`])];
}

function checkTheta(recipe: Recipe, path: string, stage: TrainingStage): CrossProblem[] {
  const before = recipe.stages[stage.from]?.ropeTheta ?? recipe.base.ropeTheta;
  if (stage.ropeTheta >= before) return [];
  const message = `the RoPE base goes down, from ${formatScientific(before)} of "${stage.from}" to ${formatScientific(stage.ropeTheta)}`;
  const source = stage.from === BASE ? 'base.ropeTheta' : `stages.${stage.from}.ropeTheta`;
  return [
    problem(`${path}.ropeTheta`, message, `${formatScientific(before)} or more`, [source, `${path}.from`]),
  ];
}

/** Names that the walk gives to its own steps. */
const RESERVED = /^(base|curation|report|rope-.*)$/;

function checkNames(recipe: Recipe): CrossProblem[] {
  const stages = Object.keys(recipe.stages);
  const evaluations = Object.keys(recipe.evaluations);
  const reserved = [
    ...stages.filter((name) => RESERVED.test(name)).map((name) => `stages.${name}`),
    ...evaluations.filter((name) => RESERVED.test(name)).map((name) => `evaluations.${name}`),
  ];
  const twice = evaluations.filter((name) => stages.includes(name));
  return [
    ...reserved.map((path) =>
      problem(path, 'the name is reserved', 'any but base, curation, report and rope-…'),
    ),
    ...twice.map((name) =>
      problem(
        `evaluations.${name}`,
        'a stage has the same name',
        'names that differ, as folders are named after them',
      ),
    ),
  ];
}

function checkTask(recipe: Recipe, name: string, task: RecipeTask): CrossProblem[] {
  const path = `tasks.${name}`;
  const lengths = task.lengths.map((one) => one.lengthTokens);
  const trained = [
    'base.lengthTokens',
    ...Object.keys(recipe.stages).map((stage) => `stages.${stage}.sequenceLengthTokens`),
  ];
  const longest = Math.max(
    recipe.base.lengthTokens,
    ...Object.values(recipe.stages).map((one) => one.sequenceLengthTokens),
  );
  const problems = lengths.flatMap((length, index) => {
    const place = `${path}.lengths[${index}].lengthTokens`;
    if (lengths.indexOf(length) < index)
      return [problem(place, `${formatLength(length)} is there twice`, 'each length once')];
    if (length <= longest) return [];
    const message = `${formatLength(length)} is longer than anything this recipe trains at`;
    return [problem(place, message, `up to ${formatLength(longest)}`, trained)];
  });
  return task.task === 'kv-recall' ? problems : [...problems, ...checkTaskTexts(recipe, path, task)];
}

function checkTaskTexts(
  recipe: Recipe,
  path: string,
  task: Exclude<RecipeTask, { task: 'kv-recall' }>,
): CrossProblem[] {
  const known = Object.keys(recipe.data.sources);
  const problems = task.domains
    .map((domain, index) => ({ domain, index }))
    .filter(({ domain }) => !known.includes(domain))
    .map(({ domain, index }) => {
      const message = `there are no sources for the domain "${domain}"`;
      return problem(`${path}.domains[${index}]`, message, known.join(', '), [`data.sources.${domain}`]);
    });
  if (task.task === 'needle') return problems;
  const edges = task.bucketEdges;
  const ascending = edges.every((edge, index) => index === 0 || edge > (edges[index - 1] ?? 0));
  return ascending
    ? problems
    : [
        ...problems,
        problem(`${path}.bucketEdges`, `the edges ${edges.join(', ')} do not ascend`, 'ascending positions'),
      ];
}

function checkEvaluations(recipe: Recipe): CrossProblem[] {
  const tasks = Object.keys(recipe.tasks);
  return Object.entries(recipe.evaluations).flatMap(([name, evaluation]) => {
    const path = `evaluations.${name}`;
    const targets = Object.entries(evaluation.targets);
    const empty =
      targets.length === 0 ? [problem(`${path}.targets`, 'nothing is evaluated', 'at least one target')] : [];
    const models = targets
      .filter(([, target]) => target.model !== BASE && recipe.stages[target.model] === undefined)
      .map(([target, { model }]) => {
        const message = `there is no stage "${model}" to evaluate`;
        return problem(`${path}.targets.${target}.model`, message, modelNames(recipe), [`stages.${model}`]);
      });
    const unknown = evaluation.tasks.flatMap((task, index) => {
      const place = `${path}.tasks[${index}]`;
      if (evaluation.tasks.indexOf(task) < index)
        return [problem(place, `"${task}" is there twice`, 'each task once')];
      return tasks.includes(task)
        ? []
        : [problem(place, `there is no task "${task}"`, tasks.join(', '), [`tasks.${task}`])];
    });
    return [...empty, ...models, ...unknown, ...checkTargetNames(recipe, name)];
  });
}

/** Results are told apart by target name, so one name means one model wherever it occurs. */
function checkTargetNames(recipe: Recipe, evaluation: string): CrossProblem[] {
  const targets = Object.entries(recipe.evaluations[evaluation]?.targets ?? {});
  const earlier = Object.entries(recipe.evaluations).filter(([name]) => name < evaluation);
  return targets.flatMap(([target, own]) =>
    earlier.flatMap(([name, { targets: others }]) => {
      const other = others[target];
      if (other === undefined || (other.model === own.model && other.ropeTheta === own.ropeTheta)) return [];
      const message = `"${target}" is another model in evaluations.${name}`;
      const path = `evaluations.${evaluation}.targets.${target}`;
      return [problem(path, message, 'one name for one model', [`evaluations.${name}.targets.${target}`])];
    }),
  );
}

function checkCost(recipe: Recipe): CrossProblem[] {
  return Object.keys(recipe.cost.stageMfu)
    .filter((name) => recipe.stages[name] === undefined)
    .map((name) => {
      const accepted = Object.keys(recipe.stages).join(', ');
      return problem(`cost.stageMfu.${name}`, `there is no stage "${name}"`, accepted, [`stages.${name}`]);
    });
}

function modelNames(recipe: Recipe, except?: string): string {
  return [BASE, ...Object.keys(recipe.stages).filter((name) => name !== except)].join(', ');
}

/** What is unusual about a valid recipe and worth knowing before it runs. `longhaul plan` prints them. */
export function recipeNotices(recipe: Recipe): Problem[] {
  return Object.entries(recipe.stages).flatMap(([name, stage]) => {
    const rows = rowsOf(stage);
    const broken = stage.mix.filter(({ share }) => !isWhole(share * rows, rows)).map(({ domain }) => domain);
    if (broken.length === 0) return [];
    const message = `shares that are no whole number of the ${rows} rows get the next one above or below: ${[...new Set(broken)].join(', ')}`;
    return [{ path: `stages.${name}.mix`, message }];
  });
}

/** Is a share of rows a whole number, but for the rounding of decimal shares? */
export function isWhole(exact: number, rows: number): boolean {
  return Math.abs(exact - Math.round(exact)) < 1e-9 * Math.max(1, rows);
}
