/** One suite, two languages: whatever crosses the border is read and refused alike on both sides. */
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { EXIT_CODES } from '../../../src/contracts/index.js';
import { CONTRACTS } from '../../../src/contracts/json-schemas.js';
import { FAILURE_CLASSES } from '../../../src/domain/attempt/failure-class.js';
import { isStoreError, parseJson } from '../../../src/store/index.js';
import { contractsInPython, fixtures, judgeInPython, pathsIn } from './support.js';
import type { Verdict } from './support.js';

const VALID = fixtures('valid');
const INVALID = fixtures('invalid');

function schemaOf(contract: string): z.ZodType {
  const schema = CONTRACTS[contract];
  if (schema === undefined) throw new RangeError(`no contract ${contract}`);
  return schema;
}

/** What the control plane says about a text, in the same form. */
function judgeInTypeScript(contract: string, text: string): Verdict {
  try {
    return { problems: [], written: parseJson('s3://test/object', Buffer.from(text), schemaOf(contract)) };
  } catch (error) {
    if (!isStoreError(error, 'invalid-object')) throw error;
    return { problems: error.message.replace(/^.*? is invalid: /, '').split('; '), written: null };
  }
}

const nameOf = ({ contract, name }: { contract: string; name: string }): string => `${contract}: ${name}`;

describe('in TypeScript', () => {
  it.each(VALID.map((fixture) => [nameOf(fixture), fixture]))(
    'accepts and round-trips %s',
    (_, { contract, value }) => {
      expect(judgeInTypeScript(contract, JSON.stringify(value))).toEqual({ problems: [], written: value });
    },
  );

  it.each(INVALID.map((fixture) => [nameOf(fixture), fixture]))(
    'refuses and names the place: %s',
    (_, { contract, value, problems }) => {
      expect(pathsIn(judgeInTypeScript(contract, JSON.stringify(value)).problems)).toEqual(problems);
    },
  );
});

describe('in Python', () => {
  it('accepts and round-trips every valid fixture', async () => {
    const questions = VALID.map(({ contract, value }) => ({ contract, text: JSON.stringify(value) }));
    const verdicts = await judgeInPython(questions);
    const told = verdicts.map((verdict, index) => ({ fixture: VALID[index], ...verdict }));
    expect(told).toEqual(VALID.map((fixture) => ({ fixture, problems: [], written: fixture.value })));
  });

  it('refuses every invalid fixture and names the same places', async () => {
    const questions = INVALID.map(({ contract, value }) => ({ contract, text: JSON.stringify(value) }));
    const verdicts = await judgeInPython(questions);
    const told = verdicts.map(({ problems }, index) => [INVALID[index]?.name, pathsIn(problems)]);
    expect(told).toEqual(INVALID.map(({ name, problems }) => [name, problems]));
  });
});

/** Values to put where something else belongs. */
const REPLACEMENTS: readonly unknown[] = [null, '', 'text', -1, 0, 0.5, 2 ** 53, true, [], {}];

/** Copies of a value, each with one thing changed: a key left out, one added, a value replaced; at every depth. */
function* mutations(value: unknown): Generator {
  if (Array.isArray(value)) {
    yield [];
    for (const [index, item] of value.entries()) {
      for (const changed of [...mutations(item), ...REPLACEMENTS]) yield value.with(index, changed);
    }
  } else if (typeof value === 'object' && value !== null) {
    yield { ...value, surplus: 1 };
    for (const [key, item] of Object.entries(value)) {
      yield Object.fromEntries(Object.entries(value).filter(([other]) => other !== key));
      for (const changed of [...mutations(item), ...REPLACEMENTS]) yield { ...value, [key]: changed };
    }
  }
}

describe('in both', () => {
  it('each failure class has the same exit code', async () => {
    expect(await contractsInPython('contracts.EXIT_CODES')).toEqual(EXIT_CODES);
  });

  it('a job may end as each failure class, and as no other', async () => {
    const classes = await contractsInPython(
      "contracts.EndedOutcome.model_json_schema()['properties']['class']['enum']",
    );
    expect(classes).toEqual(FAILURE_CLASSES);
  });

  it('accepts and refuses the same of every valid fixture with one thing changed', async () => {
    const questions = VALID.flatMap(({ contract, value }) =>
      [...mutations(value)].map((changed) => ({ contract, text: JSON.stringify(changed) })),
    );
    const inPython = await judgeInPython(questions);
    const disagreements = questions.filter(({ contract, text }, index) => {
      const mine = judgeInTypeScript(contract, text).problems.length === 0;
      return mine !== (inPython[index]?.problems.length === 0);
    });
    expect(disagreements).toEqual([]);
    expect(questions.length).toBeGreaterThan(1_000);
  });

  it('refuses what is no JSON object at all', async () => {
    const texts = ['{', '', 'null', '[]', '"text"', '{"schema": "longhaul.head/1"', 'NaN'];
    const questions = texts.map((text) => ({ contract: 'head', text }));
    const accepted = (await judgeInPython(questions)).filter(({ problems }) => problems.length === 0);
    expect(accepted).toEqual([]);
    for (const text of texts) expect(judgeInTypeScript('head', text).problems).not.toEqual([]);
  });
});
