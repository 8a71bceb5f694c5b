/** `longhaul pause`, `resume`, `retry`, `skip`, `abort`, `approve`, `budget`: what an operator can tell a run. */
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { Option } from 'commander';
import type { Command } from 'commander';
import { FAILURE_CLASSES } from '../../domain/attempt/failure-class.js';
import { isObject } from '../../domain/lib/json.js';
import type { JsonObject } from '../../domain/lib/json.js';
import type { OperatorAction } from '../../domain/run/operator-actions.js';
import { messageOf, printable } from '../../domain/lib/text.js';
import { withClient } from '../client.js';
import { cliConfig } from '../environment.js';
import { operate } from '../operate.js';
import { UserError } from '../user-error.js';

/** An option of a command, and the field of the update it becomes. */
interface Field {
  readonly flags: string;
  readonly meaning: string;
  readonly required?: true;
  /** What may be written; absent: the run says what it takes. */
  readonly choices?: readonly string[];
  /** The field's value, from what the user wrote; absent: as written. */
  readonly read?: (written: string) => unknown;
}

interface Operation {
  readonly command: string;
  readonly description: string;
  readonly action: OperatorAction;
  /** Options by the update's field. Commander names them by their flags, which are the same. */
  readonly fields: Readonly<Record<string, Field>>;
}

const stage: Field = {
  flags: '--stage <folder>',
  meaning:
    'the stage’s folder, such as 04-stage-1 (`longhaul audit` and `status --json` show it); without it, the parked one',
};

/** Every command with its update. */
export const OPERATIONS: readonly Operation[] = [
  {
    command: 'pause',
    description: 'Let the running job save a checkpoint and stop, until resume',
    action: 'pause',
    fields: {},
  },
  {
    command: 'resume',
    description: 'Go on after a pause, from the newest checkpoint',
    action: 'resume',
    fields: {},
  },
  {
    command: 'retry',
    description: 'Attempt a parked stage again, with fresh budgets',
    action: 'retryStage',
    fields: {
      stage,
      from: {
        flags: '--from <checkpoint>',
        meaning: 'head (the newest checkpoint), zero (the start), or a checkpoint’s id',
      },
      overrides: {
        flags: '--overrides <json>',
        meaning: 'settings of the stage to change: a JSON object, or a file that holds one',
        read: readJsonArgument,
      },
      force: { flags: '--force', meaning: 'make the stage anew even if it has a verified result' },
    },
  },
  {
    command: 'skip',
    description: 'Leave out a stage that nothing after it needs',
    action: 'skipStage',
    fields: { stage },
  },
  { command: 'abort', description: 'Stop the jobs and end the run for good', action: 'abort', fields: {} },
  {
    command: 'approve',
    description: 'Open a gate that the recipe has before a stage',
    action: 'approve',
    fields: {
      stage: {
        flags: '--stage <name>',
        meaning: 'the stage that may begin, by its name in the recipe, such as stage-2',
        required: true,
      },
    },
  },
  {
    command: 'budget',
    description: 'Change how often stages are relaunched for a failure class, from now on',
    action: 'setBudget',
    fields: {
      class: {
        flags: '--class <class>',
        meaning: 'failure class',
        choices: FAILURE_CLASSES,
        required: true,
      },
      relaunches: {
        flags: '--relaunches <count>',
        meaning: 'relaunches of this class without progress in between',
        required: true,
        read: readCount,
      },
    },
  },
];

/** Adds the commands. */
export function addOperateCommands(program: Command): void {
  for (const operation of OPERATIONS) addOperation(program, operation);
}

function addOperation(program: Command, operation: Operation): void {
  const { command: name, description, action, fields } = operation;
  const command = program
    .command(name)
    .description(description)
    .argument('<run>', 'name of the run')
    .requiredOption('--reason <text>', 'why; kept in the run’s ledger')
    .option('--actor <name>', 'who asks; kept in the run’s ledger', osUser());
  for (const { flags, meaning, required, choices } of Object.values(fields)) {
    const option = new Option(flags, meaning).makeOptionMandatory(required === true);
    command.addOption(choices === undefined ? option : option.choices(choices));
  }
  command.action(async (run: string, options: JsonObject) => {
    const input = await inputOf(operation, options);
    const config = await cliConfig();
    console.log(printable(await withClient(config, (client) => operate(client, run, action, input))));
  });
}

/** The update's input, from a command's options. What it is worth is the run's to say. */
async function inputOf({ fields }: Operation, options: JsonObject): Promise<JsonObject> {
  const { actor, reason } = options;
  const input: Record<string, unknown> = { actor, reason };
  for (const [name, { read }] of Object.entries(fields)) {
    const written = options[name];
    if (written === undefined) continue;
    input[name] = read !== undefined && typeof written === 'string' ? await read(written) : written;
  }
  return input;
}

/** The account this runs under; containers may have none but a number. */
function osUser(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}

async function readJsonArgument(written: string): Promise<JsonObject> {
  try {
    const text = written.trimStart().startsWith('{') ? written : await readFile(written, 'utf8');
    const parsed: unknown = JSON.parse(text);
    if (isObject(parsed)) return parsed;
  } catch (error) {
    const why = messageOf(error);
    throw new UserError(`--overrides: neither a JSON object nor a file that holds one: ${why}`);
  }
  throw new UserError('--overrides: expected a JSON object, such as {"schedule": {"peak": 1e-5}}');
}

function readCount(written: string): number {
  const count = Number(written);
  if (!Number.isInteger(count)) throw new UserError('--relaunches: expected a whole number');
  return count;
}
