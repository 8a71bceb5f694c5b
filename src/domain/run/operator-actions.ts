/**
 * What an operator can tell a run: the shapes of the updates of the `recipe` workflow, and the rules by which one makes sense
 * now. Pure: the workflow's validators, the command line and the tests read the same rules.
 */
import { z } from 'zod';
import { MOST_RELAUNCHES } from '../attempt/policy.js';
import { FAILURE_CLASSES } from '../attempt/failure-class.js';
import { COMMIT_ID } from './names.js';
import { issuesText, problemLines } from '../recipe/problem.js';
import type { Recipe } from '../recipe/schema.js';
import type { RunState, StageKind, StageState } from './status.js';
import { overrideStage } from '../recipe/overrides.js';
import { keysOf } from '../lib/record.js';
import { isOneLine } from '../lib/text.js';

const text = (what: string) =>
  z
    .string()
    .trim()
    .min(1, `say ${what}`)
    .max(2000, 'at most 2,000 characters')
    .refine(isOneLine, 'one line without control characters')
    .describe(what);

const who = {
  actor: text('who asks: a name or an address; it is recorded as asserted'),
  reason: text('why: it is kept in the ledger for good'),
};

const stageName = z.string().min(1).max(100);

const stage = stageName.optional().meta({
  description:
    'the stage’s folder, such as 04-stage-1 (`longhaul audit` and `status --json` show it); without it, the parked one',
  placeholder: 'folder',
});

/** Where a repaired stage begins: its newest checkpoint, nothing at all, or a checkpoint of its line. */
export const retryFromSchema = z.union([
  z.literal('head'),
  z.literal('zero'),
  z.string().regex(COMMIT_ID, 'head, zero, or the id of a checkpoint'),
]);
export type RetryFrom = z.infer<typeof retryFromSchema>;

/** What there is to an action. */
interface OperatorRules<Input> {
  /** Its command, `longhaul <command> RUN`; its name in the table is that of the update. */
  readonly command: string;
  /** What it does, for the Temporal UI, the command line and the documents. */
  readonly does: string;
  /** What it takes. Of a field, `placeholder` stands for what is written on the command line. */
  readonly input: z.ZodType<Input>;
  /** Why it makes no sense for a run as it is now, in one sentence; null: it does. */
  readonly problem: (run: RunView, input: Input) => string | null;
  /** Whether operators are told of it where a run is parked. */
  readonly repairs: boolean;
}

const TABLE = {
  pause: {
    command: 'pause',
    does: 'Let the running job save a checkpoint and stop; nothing runs until resume',
    input: z.strictObject(who),
    problem: pauseProblem,
    repairs: false,
  },
  resume: {
    command: 'resume',
    does: 'Go on after a pause, from the newest checkpoint',
    input: z.strictObject(who),
    problem: resumeProblem,
    repairs: false,
  },
  retryStage: {
    command: 'retry',
    does: 'Attempt a parked stage again with fresh budgets, from where and with which settings you say',
    input: z.strictObject({
      ...who,
      stage,
      from: retryFromSchema.optional().meta({
        description: 'head (default: the newest checkpoint), zero (the start), or a checkpoint’s id',
        placeholder: 'checkpoint',
      }),
      overrides: z.record(z.string(), z.unknown()).optional().meta({
        description:
          'settings of the stage to change (schedule, optimizer, checkpoints), such as {"schedule": {"peak": 1e-5}}; checked like the recipe',
        placeholder: 'json',
      }),
      force: z
        .boolean()
        .optional()
        .describe('make the stage anew even if it has a verified result; also a stage that is still to come'),
    }),
    problem: retryProblem,
    repairs: true,
  },
  skipStage: {
    command: 'skip',
    does: 'Leave out a stage that nothing after it needs',
    input: z.strictObject({ ...who, stage }),
    problem: skipProblem,
    repairs: true,
  },
  abort: {
    command: 'abort',
    does: 'Stop the jobs and end the run for good',
    input: z.strictObject(who),
    problem: abortProblem,
    repairs: true,
  },
  approve: {
    command: 'approve',
    does: 'Open a gate that the recipe has before a stage (execution.approvals)',
    input: z.strictObject({
      ...who,
      stage: stageName.meta({
        description: 'the stage that may begin, by its name in the recipe, such as stage-2',
        placeholder: 'name',
      }),
    }),
    problem: approveProblem,
    repairs: false,
  },
  setBudget: {
    command: 'budget',
    does: 'Change how often stages are relaunched for a failure class, from now on',
    input: z.strictObject({
      ...who,
      class: z.enum(FAILURE_CLASSES).meta({ description: 'failure class', placeholder: 'class' }),
      relaunches: z.int().min(0).max(MOST_RELAUNCHES).meta({
        description: 'relaunches of this class without progress in between',
        placeholder: 'count',
      }),
    }),
    problem: abortProblem,
    repairs: true,
  },
} as const;

type Inputs = { [A in keyof typeof TABLE]: z.infer<(typeof TABLE)[A]['input']> };

/** Name of an operator action, which is that of its update. */
export type OperatorAction = keyof Inputs;
/** What an action takes. */
export type OperatorInput<A extends OperatorAction = OperatorAction> = Inputs[A];

/** Every operator action by the name of its update: what the workflow takes, the command line offers and the documents list. */
export const OPERATOR_ACTIONS: { readonly [A in OperatorAction]: OperatorRules<Inputs[A]> } = TABLE;

/** Names of the operator actions, in the table's order. Ledgers hold them: none that was ever used may go. */
export const OPERATOR_ACTION_NAMES: readonly OperatorAction[] = keysOf(TABLE);

/** One thing that an action takes. */
export interface OperatorField {
  readonly name: string;
  readonly meaning: string;
  readonly isRequired: boolean;
  readonly kind: 'text' | 'count' | 'json' | 'flag';
  /** What stands for it on the command line; empty for a flag. */
  readonly placeholder: string;
  /** What it may be; null: many things. */
  readonly choices: readonly string[] | null;
}

const KINDS: Readonly<Record<string, OperatorField['kind']>> = {
  integer: 'count',
  object: 'json',
  boolean: 'flag',
};

const describedSchema = z.looseObject({
  type: z.string().default('string'),
  description: z.string().default(''),
  placeholder: z.string().default(''),
  enum: z.array(z.string()).optional(),
});

/** What an action takes beside who asks and why, in order. */
export function operatorFields(action: OperatorAction): OperatorField[] {
  return allFields(action).filter(({ name }) => !(name in who));
}

function allFields(action: OperatorAction): OperatorField[] {
  const { properties = {}, required = [] } = z.toJSONSchema(OPERATOR_ACTIONS[action].input, { io: 'input' });
  return Object.entries(properties).map(([name, described]) => {
    const { type, description, placeholder, enum: choices = null } = describedSchema.parse(described);
    const isRequired = required.includes(name);
    return { name, meaning: description, isRequired, kind: KINDS[type] ?? 'text', placeholder, choices };
  });
}

/** A stage as the rules see it. */
export interface StageView {
  readonly folder: string;
  /** Key in `recipe.stages` of a training stage; null for other kinds. */
  readonly name: string | null;
  readonly kind: StageKind;
  readonly state: StageState;
  /** Folders of the stages that wait for it. */
  readonly neededBy: readonly string[];
}

/** A run as the rules see it. */
export interface RunView {
  readonly state: RunState;
  readonly recipe: Recipe;
  readonly stages: readonly StageView[];
  /** Stage names whose gates are still closed. */
  readonly closedGates: readonly string[];
  /**
   * What was asked of the run and is still being done: its job saves and stops, and then the run pauses, or goes on after all, or
   * ends. null: nothing.
   */
  readonly underWay: 'pause' | 'resume' | 'abort' | null;
}

/** What is wrong with an action's shape, in one sentence; null: nothing. */
export function shapeProblem(action: OperatorAction, input: unknown): string | null {
  const result = OPERATOR_ACTIONS[action].input.safeParse(input ?? {});
  if (result.success) return null;
  const fields = allFields(action).map(({ name, isRequired }) => (isRequired ? name : `${name}?`));
  return `${action} takes {${fields.join(', ')}}; ${issuesText(result.error)}`;
}

/** Actions that operators of a parked run are told of. */
const REPAIRS = OPERATOR_ACTION_NAMES.filter((action) => OPERATOR_ACTIONS[action].repairs);

/** The commands of those, in order. */
export const REPAIR_COMMANDS: readonly string[] = REPAIRS.map((action) => OPERATOR_ACTIONS[action].command);

/** What a parked run takes, as updates and as commands. */
const OF_A_PARKED_RUN = `accepted are ${andList(REPAIRS)} (longhaul ${REPAIR_COMMANDS.join(', ')})`;

function andList(words: readonly string[]): string {
  return [words.slice(0, -1).join(', '), ...words.slice(-1)].filter((part) => part !== '').join(' and ');
}

/** Why no action but another abort makes sense any more; null: the run is not ending. */
export function endingProblem({ underWay }: RunView): string | null {
  return underWay === 'abort' ? 'the run is being aborted: it stops its jobs and ends' : null;
}

/** Why a pause makes no sense now; null: it does, also when one is under way. */
export function pauseProblem(run: RunView): string | null {
  switch (run.state) {
    case 'running':
    case 'waiting':
      return null;
    case 'paused':
      return 'the run is paused already; resume lets it go on';
    case 'parked':
      return `the run is parked and nothing runs; ${OF_A_PARKED_RUN}`;
    case 'completed':
    case 'failed':
    case 'cancelled':
      return `the run is over (${run.state})`;
  }
}

/** Why resume makes no sense now; null: it does, also while a pause is under way. */
export function resumeProblem(run: RunView): string | null {
  if (run.state === 'paused' || run.underWay === 'pause' || run.underWay === 'resume') return null;
  const hint = run.state === 'parked' ? `; ${OF_A_PARKED_RUN}` : '';
  return `the run is not paused, it is ${run.state}${hint}`;
}

/** Why a retry makes no sense now; null: it does. */
export function retryProblem(run: RunView, input: OperatorInput<'retryStage'>): string | null {
  const found = stageToRepair(run, input.stage);
  if (typeof found === 'string') return found;
  const { folder, state, kind } = found;
  const comes = state === 'waiting' && input.force === true;
  if (state !== 'parked' && !comes) {
    return `${folder} is ${state}; retryStage takes a parked stage, or with force one that is still to come`;
  }
  const trains = kind === 'training' || kind === 'sft';
  if (!trains && input.from !== undefined && input.from !== 'head') {
    return `${folder} has no checkpoints; leave "from" out`;
  }
  return input.overrides === undefined ? null : overridesProblem(run, found, input.overrides);
}

/** Why a retry can't begin at a checkpoint, by those that the store has; null: it can. */
export function checkpointProblem(
  folder: string,
  from: RetryFrom | undefined,
  stored: readonly string[],
): string | null {
  if (from === undefined || from === 'head' || from === 'zero' || stored.includes(from)) return null;
  const accepted = ['head', 'zero', ...stored].join(', ');
  return `${folder} has no checkpoint ${from} in the store; accepted: ${accepted}`;
}

function overridesProblem(
  run: RunView,
  { folder, name }: StageView,
  overrides: Readonly<Record<string, unknown>>,
): string | null {
  if (name === null) return `${folder} trains nothing; overrides are for training stages`;
  const changed = overrideStage(run.recipe, name, overrides);
  return changed.ok ? null : problemLines(changed.problems, changed.untold).join('\n');
}

/** Why a stage can't be skipped now; null: it can. */
export function skipProblem(run: RunView, input: OperatorInput<'skipStage'>): string | null {
  const found = stageToRepair(run, input.stage);
  if (typeof found === 'string') return found;
  const { folder, state } = found;
  if (state !== 'parked' && state !== 'waiting') {
    return `${folder} is ${state}; skipStage takes a parked stage or one that is still to come`;
  }
  const needing = found.neededBy.filter((other) => stateOf(run, other) !== 'skipped');
  return needing.length === 0 ? null : `${folder} is needed by ${needing.join(', ')}; skip those first`;
}

/** Why an abort makes no sense now; null: it does. */
export function abortProblem(run: RunView): string | null {
  return isOver(run.state) ? `the run is over (${run.state})` : null;
}

/** Why an approval makes no sense now; null: it does. */
export function approveProblem(run: RunView, input: OperatorInput<'approve'>): string | null {
  if (run.closedGates.includes(input.stage)) return null;
  const gates = run.closedGates.length === 0 ? 'no gate is closed' : `closed: ${run.closedGates.join(', ')}`;
  return `there is no closed gate before ${JSON.stringify(input.stage)}; ${gates}`;
}

/** The stage an action is about: the one named, else the one parked; a sentence when there is none. */
export function stageToRepair(run: RunView, folder: string | undefined): StageView | string {
  const found = run.stages.find((one) =>
    folder === undefined ? one.state === 'parked' : one.folder === folder,
  );
  if (found !== undefined) return found;
  return folder === undefined
    ? `no stage is parked (the run is ${run.state}); name a stage`
    : `there is no stage ${JSON.stringify(folder)}; there are ${run.stages.map((one) => one.folder).join(', ')}`;
}

function stateOf(run: RunView, folder: string): StageState | undefined {
  return run.stages.find((one) => one.folder === folder)?.state;
}

/** Whether a run in this state is over. */
export function isOver(state: RunState): boolean {
  return state === 'completed' || state === 'failed' || state === 'cancelled';
}
