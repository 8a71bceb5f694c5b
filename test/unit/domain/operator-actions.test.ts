import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addOperateCommands } from '../../../src/cli/commands/operate.js';
import {
  OPERATOR_ACTIONS,
  OPERATOR_ACTION_NAMES,
  operatorFields,
  shapeProblem,
} from '../../../src/domain/run/operator-actions.js';
import { expectDocTable } from '../../support/doc-tables.js';

const program = new Command();
addOperateCommands(program);

describe('every operator action', () => {
  it('is a command of its own, with an option for each of its fields', () => {
    const commands = program.commands.map((command) => [
      command.name(),
      command.description(),
      command.options.map(({ long }) => long),
    ]);
    expect(commands).toEqual(
      OPERATOR_ACTION_NAMES.map((action) => {
        const { command, does } = OPERATOR_ACTIONS[action];
        const fields = operatorFields(action).map(({ name }) => `--${name}`);
        return [command, does, ['--reason', '--actor', ...fields]];
      }),
    );
  });

  it('says what each of its fields means, and what is written for it', () => {
    for (const field of OPERATOR_ACTION_NAMES.flatMap(operatorFields)) {
      expect(field.meaning).not.toBe('');
      expect(field.placeholder === '').toBe(field.kind === 'flag');
    }
  });

  it('says in a refusal what it takes', () => {
    expect(shapeProblem('retryStage', {})).toMatch(
      /^retryStage takes \{actor, reason, stage\?, from\?, overrides\?, force\?\}; actor: /,
    );
    expect(shapeProblem('pause', { actor: 'kim', reason: 'a test' })).toBeNull();
  });
});

describe('fields become options', () => {
  const optionsOf = (name: string) =>
    program.commands
      .find((command) => command.name() === name)
      ?.options.map(({ flags, mandatory, argChoices }) => ({
        flags,
        mandatory,
        choices: argChoices?.length ?? 0,
      }));

  it('of text, words, counts, JSON and flags', () => {
    expect(optionsOf('retry')?.slice(2)).toEqual([
      { flags: '--stage <folder>', mandatory: false, choices: 0 },
      { flags: '--from <checkpoint>', mandatory: false, choices: 0 },
      { flags: '--overrides <json>', mandatory: false, choices: 0 },
      { flags: '--force', mandatory: false, choices: 0 },
    ]);
    expect(optionsOf('budget')?.slice(2)).toEqual([
      { flags: '--class <class>', mandatory: true, choices: 14 },
      { flags: '--relaunches <count>', mandatory: true, choices: 0 },
    ]);
  });
});

// The document is rewritten by `npx vitest run test/unit/domain/operator-actions.test.ts -u`.
it('docs/operating.md lists the operator actions as they are', async () => {
  await expectDocTable('operating.md', [
    ['update, `longhaul …`', 'takes, beside `actor` and `reason`; `?`: if you like', 'does'],
    ...OPERATOR_ACTION_NAMES.map((action) => {
      const { command, does } = OPERATOR_ACTIONS[action];
      const names = command === action ? [action] : [action, command];
      const fields = operatorFields(action).map(
        ({ name, isRequired }) => `\`${name}\`${isRequired ? '' : '?'}`,
      );
      return [names.map((name) => `\`${name}\``).join(', '), fields.join(', '), does];
    }),
  ]);
});
