/** Where the `tiny` preset's text comes from: what ships under data/ and the packages the project installs. */
import type { Source } from './sources.js';

const guides = (packages: string[]): Source[] => [
  { kind: 'packages', ecosystem: 'npm', packages, part: 'guides', join: 'file' },
];

/** Sources per domain. */
export const TINY_SOURCES: Record<string, Source[]> = {
  code: [
    {
      kind: 'packages',
      ecosystem: 'npm',
      packages: ['zod', 'commander', 'execa', 'pino'],
      part: 'code',
      join: 'package',
    },
    { kind: 'lookups', share: 0.5 },
  ],
  books: [{ kind: 'text', folder: 'data/books', extensions: ['.txt'], join: 'file' }],
  textbooks: guides(['zod']),
  'fineweb-edu': guides(['execa']),
  fineweb: guides(['pino']),
  tuluv2: guides(['commander']),
  stackexchange: guides(['vitest']),
  wikipedia: guides(['eslint']),
  openwebmath: guides(['prettier']),
  arxiv: guides(['typescript']),
  ultrachat: [{ kind: 'chats', files: ['data/chats/chats.jsonl'] }],
};
