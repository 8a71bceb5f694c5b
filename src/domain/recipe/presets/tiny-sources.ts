/**
 * Where the `tiny` preset's text comes from: what ships under data/ and the packages that the project itself installs.
 * The domains bear the names of Table 9; what stands in for each is said here and, with figures, in docs/data.md.
 */
import type { Source } from '../sources.js';

type Packages = Extract<Source, { kind: 'packages' }>;

const npm = (part: Packages['part'], join: Packages['join'], packages: string[]): Source => ({
  kind: 'packages',
  ecosystem: 'npm',
  packages,
  part,
  join,
});

const docstrings = (join: Packages['join'], packages: string[]): Source => ({
  kind: 'packages',
  ecosystem: 'python',
  packages,
  part: 'docstrings',
  join,
});

/** Whole packages as repositories, in two languages, and key-value data files among them. */
const code: Source[] = [
  npm('code', 'package', [
    'chai',
    'commander',
    'events',
    'execa',
    'fast-uri',
    'json5',
    'magic-string',
    'picomatch',
    'pino',
    'pino-abstract-transport',
    'prompts',
    'qified',
    'yargs',
    'yargs-parser',
  ]),
  {
    kind: 'packages',
    ecosystem: 'python',
    packages: ['jinja2', 'jmespath', 'yaml'],
    part: 'code',
    join: 'package',
  },
  { kind: 'lookups', share: 0.75 },
];

/** Some of the books that ship; the rest were the base model's alone. *Northanger Abbey* and *Romeo and Juliet* are held out. */
const books: Source = {
  kind: 'text',
  folder: 'data/books',
  extensions: ['.txt'],
  only: [
    'austen-northanger-abbey',
    'austen-persuasion',
    'milton-paradise-lost',
    'shakespeare-hamlet',
    'shakespeare-macbeth',
    'shakespeare-romeo-and-juliet',
    'shakespeare-the-tempest',
    'twain-tom-sawyer',
  ],
  join: 'file',
};

/** Documentation long enough to be a book's chapter: mathematics by subject, as SymPy documents it. */
const textbooks = docstrings('package', ['sympy/calculus', 'sympy/concrete', 'sympy/geometry', 'sympy/sets']);

const readmes = npm('readme', 'file', [
  '@eslint-community/regexpp',
  '@noble/hashes',
  'acorn',
  'ajv',
  'chai',
  'commander',
  'cross-spawn',
  'eslint',
  'execa',
  'expect-type',
  'fast-uri',
  'json5',
  'keyv',
  'magic-string',
  'minimatch',
  'pino',
  'prompts',
  'rxjs',
  'source-map-support',
  'terser',
  'yargs-parser',
]);

const changelogs = npm('changelog', 'file', [
  'acorn',
  'is-core-module',
  'minimist',
  'rxjs',
  'terser',
  'yargs-parser',
]);

/** Sources per domain. */
export const TINY_SOURCES: Record<string, Source[]> = {
  code,
  books: [books],
  textbooks: [textbooks],
  'fineweb-edu': [
    npm('guides', 'file', ['@temporalio/core-bridge', 'memfs', 'pino', 'playwright-core', 'safer-buffer']),
    docstrings('file', ['jinja2', 'pydantic']),
  ],
  fineweb: [readmes],
  tuluv2: [{ kind: 'chats', files: ['data/chats/instructions.jsonl'] }],
  stackexchange: [changelogs],
  wikipedia: [
    {
      kind: 'jsonl',
      files: ['data/dictionaries/devils-dictionary.jsonl'],
      textField: 'text',
    },
  ],
  openwebmath: [docstrings('file', ['mpmath', 'numpy/linalg'])],
  arxiv: [
    docstrings('file', [
      'networkx/algorithms/approximation',
      'networkx/algorithms/centrality',
      'networkx/algorithms/community',
      'networkx/algorithms/flow',
    ]),
  ],
  ultrachat: [{ kind: 'chats', files: ['data/chats/dialogues.jsonl'] }],
};
