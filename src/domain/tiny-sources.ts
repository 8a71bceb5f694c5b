/**
 * Where the `tiny` preset's text comes from: what ships under data/ and the packages that the project itself installs.
 * The domains bear the names of Table 9; what stands in for each is said here and, with figures, in docs/data.md.
 */
import type { Source } from './sources.js';

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
    '@noble/hashes/src',
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
    packages: ['dateutil', 'jinja2', 'jmespath', 's3transfer', 'urllib3', 'yaml'],
    part: 'code',
    join: 'package',
  },
  { kind: 'lookups', share: 0.5 },
];

/** Documentation long enough to be a book's chapter: mathematics by subject, as SymPy documents it. */
const textbooks = docstrings('package', [
  'sympy/calculus',
  'sympy/combinatorics',
  'sympy/concrete',
  'sympy/geometry',
  'sympy/ntheory',
  'sympy/sets',
  'sympy/stats',
]);

const readmes = npm('readme', 'file', [
  '@aws-sdk/client-s3',
  '@eslint-community/regexpp',
  '@grpc/proto-loader',
  '@noble/hashes',
  'acorn',
  'ajv',
  'chai',
  'commander',
  'cross-spawn',
  'dependency-cruiser',
  'enhanced-resolve',
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
  'protobufjs',
  'regexp-tree',
  'rxjs',
  'schema-utils',
  'source-map',
  'source-map-support',
  'terser',
  'vitest',
  'webpack',
  'yargs-parser',
]);

const changelogs = npm('changelog', 'file', [
  '@smithy/core',
  '@smithy/fetch-http-handler',
  '@smithy/node-http-handler',
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
  books: [{ kind: 'text', folder: 'data/books', extensions: ['.txt'], join: 'file' }],
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
      files: ['data/dictionaries/devils-dictionary.jsonl', 'data/dictionaries/jargon-file.jsonl'],
      textField: 'text',
    },
  ],
  openwebmath: [docstrings('file', ['mpmath', 'numpy/linalg', 'numpy/polynomial'])],
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
