import { describe, expect, it } from 'vitest';
import { EXIT_CODES } from '../../../src/contracts/index.js';
import { FAILURES, FAILURE_CLASSES } from '../../../src/domain/attempt/failure-class.js';
import type { FailureClass, FailureRules } from '../../../src/domain/attempt/failure-class.js';
import { expectDocTable } from '../../support/doc-tables.js';

const RULES: Readonly<Record<FailureClass, FailureRules>> = FAILURES;

function reaction({ relaunches, firstWaitSeconds, besides }: FailureRules): string {
  const wait = `after ${firstWaitSeconds} s, and twice as long each time`;
  const relaunched = firstWaitSeconds > 0 ? `relaunched ${wait}` : 'relaunched at once';
  const does = relaunches === 0 ? 'parks: another attempt would not mend it' : relaunched;
  return besides === '' ? does : `${does}; ${besides}`;
}

// The documents are rewritten by `npx vitest run test/unit/domain/failure-classes.test.ts -u`.
describe('the documents say of failure classes what the program does', () => {
  it('docs/operating.md: what happens, and what mends it', async () => {
    await expectDocTable('operating.md', [
      ['class', 'relaunches', 'what happens', 'what mends it, as a rule'],
      ...FAILURE_CLASSES.map((one) => [
        `\`${one}\``,
        String(RULES[one].relaunches),
        reaction(RULES[one]),
        RULES[one].remedy,
      ]),
    ]);
  });

  it('docs/training-job.md: exit codes, and what a job says by them', async () => {
    const byCode = FAILURE_CLASSES.filter((one) => one !== 'unknown').toSorted(
      (a, b) => EXIT_CODES[a] - EXIT_CODES[b],
    );
    await expectDocTable('training-job.md', [
      ['code', 'class', 'what it says'],
      [String(EXIT_CODES.done), '–', 'trained, or evaluated'],
      ...byCode.map((one) => [String(EXIT_CODES[one]), `\`${one}\``, RULES[one].meaning]),
      [`${EXIT_CODES.unknown}, 137, others`, '`unknown`', RULES.unknown.meaning],
    ]);
  });
});

describe('the table of failure classes', () => {
  it('gives each an exit code of its own', () => {
    expect(new Set(Object.values(EXIT_CODES)).size).toBe(FAILURE_CLASSES.length + 1);
  });
});
