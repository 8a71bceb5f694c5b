/** What an operator can tell a run, as commands: `longhaul pause`, `retry`, `approve` and the others. */
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { Option } from 'commander';
import type { Command } from 'commander';
import { isObject } from '../../domain/lib/json.js';
import type { JsonObject } from '../../domain/lib/json.js';
import {
  OPERATOR_ACTION_NAMES,
  OPERATOR_ACTIONS,
  operatorFields,
} from '../../domain/run/operator-actions.js';
import type { OperatorAction, OperatorField } from '../../domain/run/operator-actions.js';
import { messageOf, printable } from '../../domain/lib/text.js';
import { withClient } from '../client.js';
import { cliConfig } from '../environment.js';
import { operate } from '../operate.js';
import { UserError } from '../user-error.js';

/** Adds the commands. */
export function addOperateCommands(program: Command): void {
  for (const action of OPERATOR_ACTION_NAMES) addOperation(program, action);
}

function addOperation(program: Command, action: OperatorAction): void {
  const { command: name, does } = OPERATOR_ACTIONS[action];
  const command = program
    .command(name)
    .description(does)
    .argument('<run>', 'name of the run')
    .requiredOption('--reason <text>', 'why; kept in the run’s ledger')
    .option('--actor <name>', 'who asks; kept in the run’s ledger', osUser());
  for (const field of operatorFields(action)) command.addOption(optionOf(field));
  command.action(async (run: string, options: JsonObject) => {
    const input = await inputOf(action, options);
    const config = await cliConfig();
    console.log(printable(await withClient(config, (client) => operate(client, run, action, input))));
  });
}

/** The option of a field: the run says what it takes, but for the words there are to choose from. */
function optionOf({ name, meaning, isRequired, kind, placeholder, choices }: OperatorField): Option {
  const flags = kind === 'flag' ? `--${name}` : `--${name} <${placeholder}>`;
  const told = kind === 'json' ? `${meaning}; or a file that holds it` : meaning;
  const option = new Option(flags, told).makeOptionMandatory(isRequired);
  return choices === null ? option : option.choices(choices);
}

/** The update's input, from a command's options. What it is worth is the run's to say. */
async function inputOf(
  action: OperatorAction,
  { actor, reason, ...options }: JsonObject,
): Promise<JsonObject> {
  const input: Record<string, unknown> = { actor, reason };
  for (const { name, kind } of operatorFields(action)) {
    const written = options[name];
    if (typeof written === 'string') input[name] = await valueOf(name, kind, written);
    else if (written !== undefined) input[name] = written;
  }
  return input;
}

async function valueOf(name: string, kind: OperatorField['kind'], written: string): Promise<unknown> {
  if (kind === 'count') return readCount(name, written);
  return kind === 'json' ? readJsonArgument(name, written) : written;
}

/** The account this runs under; containers may have none but a number. */
function osUser(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}

async function readJsonArgument(name: string, written: string): Promise<JsonObject> {
  try {
    const text = written.trimStart().startsWith('{') ? written : await readFile(written, 'utf8');
    const parsed: unknown = JSON.parse(text);
    if (isObject(parsed)) return parsed;
  } catch (error) {
    const why = messageOf(error);
    throw new UserError(`--${name}: neither a JSON object nor a file that holds one: ${why}`);
  }
  throw new UserError(`--${name}: expected a JSON object`);
}

function readCount(name: string, written: string): number {
  const count = Number(written);
  if (!Number.isInteger(count)) throw new UserError(`--${name}: expected a whole number`);
  return count;
}
