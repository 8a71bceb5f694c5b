import { describe, expect, it } from 'vitest';
import type { TimelineEntry } from '../../../src/audit/audit-data.js';
import { timelineRows } from '../../../src/audit/timeline-text.js';
import type { LedgerEntry } from '../../../src/domain/ledger/records.js';
import { ended, opened, stageEnded, started } from './sample.js';

/** Entries ten seconds apart; those of attempts are in the chain of stage `03-a`. */
function timeline(entries: readonly LedgerEntry[]): TimelineEntry[] {
  return entries.map((entry, position) => ({
    at: new Date(Date.UTC(2026, 0, 5, 12) + position * 10_000).toISOString(),
    folder: entry.type.startsWith('attempt') ? '03-a' : null,
    index: position + 1,
    writer: 'run-1',
    entry,
  }));
}

const texts = (entries: readonly LedgerEntry[], all = false): string[] =>
  timelineRows(timeline(entries), all).map(({ mark, time, subject, text }) =>
    [mark, time, subject, text].join(' '),
  );

function preemptions(count: number, first = 1): LedgerEntry[] {
  return Array.from({ length: count }, (_, position) => {
    const epoch = first + position;
    const commits = [epoch * 10];
    return [
      opened(epoch, (epoch - 1) * 10),
      ended(epoch, 'preempted', { step: epoch * 10 + 3, commits, wallSeconds: 60 }),
    ];
  }).flat();
}

describe('an attempt is one row', () => {
  it('with where it began, how it ended, how far it came and why', () => {
    const end = ended(2, 'hang', {
      step: 1234,
      commits: [1210, 1220],
      wallSeconds: 100,
      node: 'node-7',
      message: 'no step for 60 s\nstack',
      note: 'stopped by the watchdog',
    });
    expect(texts([started('03-a'), opened(2, 1200), end])).toEqual([
      '▶ 12:00:00 03-a 03-a',
      '✗ 12:00:10 03-a attempt 2 from 00001200-0001-00000000: hang after 1 min 40 s · at step 1,234 · 2 commits, the last at 1220 · on node-7 · no step for 60 s · stopped by the watchdog',
    ]);
  });

  it('of an evaluation counts samples', () => {
    const rows = texts([
      started('03-a', 'evaluation'),
      opened(1),
      ended(1, 'done', { step: 90, wallSeconds: 5 }),
    ]);
    expect(rows[1]).toBe('✓ 12:00:10 03-a attempt 1 from the start: done after 5.0 s · at sample 90');
  });

  it('with the commit that the next one began at, although nobody saw it made', () => {
    const killed = ended(1, 'unknown', { step: 12, wallSeconds: 5 });
    expect(texts([opened(1), killed, opened(2, 10)])[0]).toBe(
      '✗ 12:00:00 03-a attempt 1 from the start: unknown after 5.0 s · at step 12 · commit at 10',
    );
  });

  it('says so when nobody recorded its end', () => {
    expect(texts([opened(1)])).toEqual(['▶ 12:00:00 03-a attempt 1 from the start; its end is not recorded']);
  });
});

describe('a thousand preemptions are readable', () => {
  it('a series that ended alike is one row', () => {
    const rows = texts([
      started('03-a'),
      ...preemptions(1000),
      opened(1001, 10_000),
      ended(1001, 'done', { step: 10_050 }),
    ]);
    expect(rows).toHaveLength(3);
    expect(rows[1]).toBe(
      '↺ 12:00:10 03-a attempts 1 to 1000: 1000 × preempted in 16 h 40 min · at step 10,003 in the end · 1000 commits, the last at 10000',
    );
  });

  it('another class, and what an operator did, stands between', () => {
    const pause: LedgerEntry = {
      type: 'action',
      action: 'pause',
      actor: 'ann',
      actorKind: 'asserted',
      reason: 'lunch',
      detail: {},
    };
    const rows = texts([...preemptions(4), pause, ...preemptions(4, 5), opened(9), ended(9, 'hang')]);
    expect(rows.map((row) => row.split(' ').slice(2, 6).join(' '))).toEqual([
      '03-a attempts 1 to',
      'operator pause by ann',
      '03-a attempts 5 to',
      '03-a attempt 9 from',
    ]);
  });

  it('a few stand alone, and all if asked for', () => {
    expect(texts(preemptions(3))).toHaveLength(3);
    expect(texts(preemptions(100), true)).toHaveLength(100);
  });
});

describe('a reset', () => {
  it('says which workflow run goes on, from where, and why', () => {
    const reset = (remembers: number, why: string): LedgerEntry => ({
      type: 'run-reset',
      runId: 'run-2',
      remembers,
      why,
    });
    expect(texts([started('03-a'), reset(1, 'a bad deployment'), reset(0, '')])).toEqual([
      '▶ 12:00:00 03-a 03-a',
      '▶ 12:00:10 run reset to where it was at record 1; workflow run run-2 goes on: a bad deployment',
      '▶ 12:00:20 run reset to its start; workflow run run-2 goes on',
    ]);
  });
});

describe('everything else is a row of its own', () => {
  it('with a mark that tells good from bad', () => {
    const action: LedgerEntry = {
      type: 'action',
      action: 'setBudget',
      actor: 'ann',
      actorKind: 'authenticated',
      reason: 'flaky',
      detail: { class: 'hang', relaunches: 5 },
    };
    expect(
      texts([
        {
          type: 'run-opened',
          run: 'r',
          recipeDigest: `sha256:${'a'.repeat(64)}`,
          namespace: 'ns',
          workflowId: 'r',
          runId: 'id',
        },
        started('03-a'),
        stageEnded('03-a', 'parked'),
        action,
        { type: 'stage-adopted', why: 'it is there', digest: `sha256:${'b'.repeat(64)}` },
        {
          ...stageEnded('03-a'),
          type: 'stage-ended',
          folder: '03-a',
          result: 'done',
          why: '',
          chain: null,
          artifacts: [1, 2].map((n) => ({
            kind: 'dataset',
            url: `s3://b/${n}`,
            digest: `sha256:${String(n).repeat(64)}`,
          })),
        },
        { type: 'run-ended', state: 'failed', why: 'no\nmore' },
      ]),
    ).toEqual([
      '▶ 12:00:00 run opened by workflow run id in ns, recipe aaaaaaaaaaaa',
      '▶ 12:00:10 03-a 03-a',
      '‖ 12:00:20 03-a parked',
      '● 12:00:30 operator setBudget {"class":"hang","relaunches":5} by ann (authenticated): flaky',
      '✓ 12:00:40 run adopted bbbbbbbbbbbb: it is there',
      '✓ 12:00:50 03-a done · 2 datasets',
      '✗ 12:01:00 run failed: no',
    ]);
  });
});
