/** The contracts' golden fixtures, and the trainer's opinion about them. */
import { execa } from 'execa';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CONTRACTS } from '../../../src/contracts/json-schemas.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FIXTURES = path.join(ROOT, 'src/contracts/fixtures');

/** A fixture. `problems`: every path at which a reader must find fault, sorted; none for a valid one. */
export interface Fixture {
  readonly contract: string;
  readonly name: string;
  readonly value: unknown;
  readonly problems: readonly string[];
}

const invalidSchema = z.strictObject({ problems: z.array(z.string()).min(1), value: z.unknown() });

/** All fixtures of one kind. */
export function fixtures(kind: 'valid' | 'invalid'): Fixture[] {
  return Object.keys(CONTRACTS).flatMap((contract) =>
    readdirSync(path.join(FIXTURES, kind, contract)).map((file) => {
      const json: unknown = JSON.parse(readFileSync(path.join(FIXTURES, kind, contract, file), 'utf8'));
      const name = file.replace(/\.json$/, '');
      if (kind === 'valid') return { contract, name, value: json, problems: [] };
      return { contract, name, ...invalidSchema.parse(json) };
    }),
  );
}

const verdictSchema = z.strictObject({ problems: z.array(z.string()), written: z.unknown() });
/** What a reader says: its problems, `path: message`; and what it writes for what it has read. */
export type Verdict = z.infer<typeof verdictSchema>;

const PYTHON = process.env['LONGHAUL_TRAINER_PYTHON'] ?? path.join(ROOT, '.longhaul/venv/bin/python');

/** What a Python expression comes to that is made of the trainer's contracts. */
export async function contractsInPython(expression: string): Promise<unknown> {
  const program = `import json; from longhaul_trainer import contracts; print(json.dumps(${expression}))`;
  const { stdout } = await execa(PYTHON, ['-c', program], { cwd: path.join(ROOT, 'infra/trainer') });
  return JSON.parse(stdout);
}

/** What the trainer says about texts that claim to be of a contract. */
export async function judgeInPython(
  questions: readonly { readonly contract: string; readonly text: string }[],
): Promise<Verdict[]> {
  const { stdout } = await execa(PYTHON, ['infra/trainer/tests/contract_judge.py'], {
    cwd: ROOT,
    input: questions.map((question) => `${JSON.stringify(question)}\n`).join(''),
  });
  return stdout.split('\n').map((line) => verdictSchema.parse(JSON.parse(line)));
}

/** The paths that a verdict finds fault with. */
export function pathsIn(problems: readonly string[]): string[] {
  return [...new Set(problems.flatMap((problem) => (problem.split(': ')[0] ?? '').split(', ')))].sort();
}
