import { describe, expect, it } from 'vitest';
import { entrySummary } from '../../../src/domain/ledger/summary.js';
import type { LedgerEntry } from '../../../src/domain/ledger/records.js';

const action = (actor: string): LedgerEntry => ({
  ...{ type: 'action', action: 'pause', actor, actorKind: 'asserted', reason: 'hot', detail: {} },
});

describe('a record is named by what it says', () => {
  it.each([
    [
      'Ledger: 04-stage-1 started',
      { type: 'stage-started', folder: '04-stage-1', kind: 'training', title: 'Stage 1' },
    ],
    [
      'Ledger: 04-stage-1 parked',
      {
        ...{ type: 'stage-ended', folder: '04-stage-1', result: 'parked', why: 'hang' },
        ...{ chain: null, artifacts: [] },
      },
    ],
    ['Ledger: run completed', { type: 'run-ended', state: 'completed', why: '' }],
    ['Ledger: pause by kim@example.org', action('kim@example.org')],
  ] satisfies [string, LedgerEntry][])('%s', (line, entry) => {
    expect(entrySummary(entry)).toBe(line);
  });

  it('in one short line, whatever was said', () => {
    for (const actor of ['a\nb\tc', '\u202edrawkcab', '漢'.repeat(5000), '\ud800']) {
      const line = entrySummary(action(actor));
      expect(line).not.toMatch(/[\n\t\u202e]/);
      expect(Buffer.byteLength(JSON.stringify(line))).toBeLessThanOrEqual(400);
    }
  });
});
