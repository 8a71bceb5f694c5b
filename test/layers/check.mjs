/**
 * Checks the layering of the whole tree, then that every rule bites: each has a fixture that breaks it. What ESLint is told besides
 * (syntax.mjs) has fixtures as well; whether the tree obeys it is for `npm run lint` to say.
 * Exit code 1 and a list of violations when something is off.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise } from 'dependency-cruiser';
import { Linter } from 'eslint';
import { MESSAGE_NAMES, STORE_KEYS } from './syntax.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const { rules } = createRequire(import.meta.url)('./rules.cjs');

/** Violations found in those folders of a tree, each with its rule and "rule: from → to". */
async function violations(tree, folders) {
  const result = await cruise(folders, {
    ruleSet: { forbidden: rules },
    validate: true,
    tsPreCompilationDeps: true,
    baseDir: tree,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.mjs', '.cjs'],
      extensionAlias: { '.js': ['.ts', '.js'] },
    },
  });
  return result.output.summary.violations.map(({ rule, from, to }) => ({
    rule: rule.name,
    text: `${rule.name}: ${from} → ${to}`,
  }));
}

let passed = 0;
const failures = [];
const real = await violations(root, ['workflows', 'activities', 'src']);
if (real.length === 0) passed += 1;
failures.push(...real.map(({ text }) => text));

const fixtures = new Set(readdirSync(join(here, 'fixtures')));
for (const { name } of rules) {
  if (!fixtures.has(name)) {
    failures.push(`${name}: no fixture proves that this rule bites`);
    continue;
  }
  const found = await violations(join(here, 'fixtures', name), ['.']);
  if (found.some(({ rule }) => rule === name)) passed += 1;
  else failures.push(`${name}: its fixture breaks it, yet nothing was reported`);
}

/** Lines on which ESLint finds this syntax. */
function linesWith(selector, code) {
  const rules = { 'no-restricted-syntax': ['error', selector] };
  return [...new Set(new Linter().verify(code, { rules }).map(({ line }) => line))];
}

for (const { name, selector } of [...STORE_KEYS, ...MESSAGE_NAMES]) {
  const code = readFileSync(join(here, 'syntax', `${name}.js`), 'utf8');
  const expected = code
    .split('\n')
    .flatMap((line, index) => (line.includes(' broken = ') ? [index + 1] : []));
  if (String(linesWith(selector, code)) === String(expected)) passed += 1;
  else failures.push(`${name}: its fixture is not told apart`);
}

for (const failure of failures) console.error(`  ${failure}`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
