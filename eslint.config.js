import tseslint from 'typescript-eslint';
import { MESSAGE_NAMES, STORE_KEYS } from './test/layers/syntax.mjs';

/** Type-aware rules that matter most under Temporal: promises nobody awaits, and determinism under workflows/. */
export default tseslint.config(
  {
    ignores: [
      'node_modules/',
      '.longhaul/',
      'test/layers/fixtures/',
      'test/layers/syntax/',
      'models/',
      'data/',
      '.venv/',
    ],
  },
  { files: ['**/*.{js,mjs}'], ...tseslint.configs.base },
  ...[...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked].map((config) => ({
    ...config,
    files: ['**/*.ts'],
  })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/consistent-type-definitions': ['error', 'interface'],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: false },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      eqeqeq: 'error',
    },
  },
  {
    files: ['workflows/**/*.ts', 'src/domain/**/*.ts', 'src/contracts/**/*.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        { name: 'process', message: 'Deterministic code reads no environment.' },
        { name: 'Buffer', message: 'Not in the workflow sandbox.' },
      ],
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '^(node:|fs$|path$|crypto$|os$|child_process$)',
              message: 'Deterministic code has no Node built-ins.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['workflows/**/*.ts', 'activities/**/*.ts', 'src/**/*.ts', 'infra/**/*.ts'],
    ignores: ['src/contracts/layout.ts'],
    rules: { 'no-restricted-syntax': ['error', ...restricted([...STORE_KEYS, ...MESSAGE_NAMES])] },
  },
  {
    files: ['src/contracts/layout.ts', 'test/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', ...restricted(MESSAGE_NAMES)] },
  },
);

function restricted(entries) {
  return entries.map(({ selector, message }) => ({ selector, message }));
}
