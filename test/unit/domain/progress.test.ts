/** What of a job is saved, and what it says stands in its way, as its events tell and as people read it. */
import { describe, expect, it } from 'vitest';
import {
  attemptProgressSchema,
  ProgressTracker,
  WARNING_CHARACTERS,
  warningSchema,
} from '../../../src/domain/run/progress.js';
import type { AttemptProgress } from '../../../src/domain/run/progress.js';
import { seenOf } from '../../../src/domain/run/status.js';
import { progressMarkdown, statusMarkdown } from '../../../src/domain/run/status-markdown.js';
import { runStatus, stageStatus } from '../../support/run-status.js';

const AT = '2026-01-01T10:00:00.000Z';
const LATER = '2026-01-01T10:41:03.000Z';
const FULL =
  'checkpoint of step 300 waits for the store since 2026-01-01 10:41:00 UTC: the store answered 507 InsufficientStorage';
const COMMIT = { type: 'commit', at: AT, commit: '00000200-0001-0a1b2c3d', step: 200 } as const;
const warns = (message: string) => ({ type: 'log', at: LATER, level: 'warning', message }) as const;

describe('the newest checkpoint of a job', () => {
  it('is told with its step and its time', () => {
    const tracker = new ProgressTracker(1, 500);
    tracker.add({ type: 'phase', phase: 'step' });
    expect(seenOf(tracker.progress).checkpoint).toBeNull();
    tracker.add(COMMIT);
    expect(seenOf(tracker.progress).checkpoint).toEqual({ step: 200, at: AT });
  });

  it('is at first the one that the attempt begins at, of whatever age that is', () => {
    const tracker = new ProgressTracker(2, 500, { id: COMMIT.commit, step: 200 });
    expect(seenOf(tracker.progress).checkpoint).toEqual({ step: 200, at: null });
    tracker.dateCommit('00000100-0001-0a1b2c3d', LATER);
    expect(seenOf(tracker.progress).checkpoint).toEqual({ step: 200, at: null });
    tracker.dateCommit(COMMIT.commit, AT);
    expect(seenOf(tracker.progress).checkpoint).toEqual({ step: 200, at: AT });
  });

  it('is not known before anybody has said anything, nor of an older worker', () => {
    const { progress } = new ProgressTracker(1, 500);
    expect(seenOf(progress)).toEqual({ warning: null });
    expect(seenOf({ ...progress, commit: COMMIT.commit })).toEqual({ warning: null });
  });
});

describe('a warning of a job', () => {
  const warned = (): ProgressTracker => {
    const tracker = new ProgressTracker(1, 500);
    tracker.add(COMMIT);
    tracker.add(warns(FULL));
    return tracker;
  };

  it('stands until the next commit, whatever else happens', () => {
    const tracker = warned();
    tracker.add({ type: 'log', at: LATER, level: 'info', message: 'going on' });
    tracker.add({ type: 'phase', phase: 'save' });
    expect(tracker.progress.warning).toEqual({ text: FULL, at: LATER });
    tracker.add({ ...COMMIT, at: LATER, step: 300 });
    expect(tracker.progress.warning).toBeUndefined();
  });

  it('of an evaluation stands until more samples are recorded', () => {
    const tracker = new ProgressTracker(1, null);
    const sample = { type: 'sample', at: AT, done: 40, total: 100 } as const;
    tracker.add(sample);
    tracker.add(warns('the evaluation waits for the store'));
    tracker.add(sample);
    expect(tracker.progress.warning).toBeDefined();
    tracker.add({ ...sample, done: 41 });
    expect(tracker.progress.warning).toBeUndefined();
  });

  it('comes after what the watcher itself has to say, which it takes back itself', () => {
    const tracker = warned();
    tracker.warn('the worker waits for the store', AT);
    tracker.warn('the worker waits for the store', LATER);
    expect(tracker.progress.warning).toEqual({ text: 'the worker waits for the store', at: AT });
    tracker.warn(null, LATER);
    expect(tracker.progress.warning?.text).toBe(FULL);
    tracker.endWarnings();
    expect(tracker.progress.warning).toBeUndefined();
  });

  it('is one line that is not too long, whatever a job says', () => {
    for (const text of ['a\n\tb', '\u001b[2J'.repeat(300), '\u202e', '𝔞'.repeat(2000), '']) {
      const tracker = new ProgressTracker(1, 500);
      tracker.add(warns(text));
      expect(warningSchema.parse(tracker.progress.warning).text.length).toBeLessThanOrEqual(
        WARNING_CHARACTERS,
      );
    }
  });
});

it('progress that an earlier version has sent is still understood', () => {
  const sent = {
    epoch: 1,
    phase: 'step',
    step: 20,
    steps: 50,
    tokens: 1000,
    loss: 3,
    learningRate: 1e-3,
    tokensPerSecond: 100,
    secondsLeft: 3,
    commit: COMMIT.commit,
  };
  expect(attemptProgressSchema.parse(sent)).toEqual(sent);
});

describe('the pages of the Temporal UI', () => {
  const calm: AttemptProgress = {
    epoch: 2,
    phase: 'step',
    step: 1300,
    steps: 5000,
    tokens: 5_324_800,
    loss: 2.7123,
    learningRate: 1e-4,
    tokensPerSecond: 7000,
    secondsLeft: 60,
    commit: COMMIT.commit,
    commitStep: 200,
    commitAt: AT,
  };
  const progress: AttemptProgress = { ...calm, warning: { text: FULL, at: LATER } };

  it('a stage’s says what is saved since when, and what is not', () => {
    expect(progressMarkdown('Stage 1, 64K', 'training', progress).split('\n\n')).toEqual([
      '**Stage 1, 64K** · attempt 2 · step',
      'Step 1300 of 5000, 5,324,800 tokens, loss 2.712',
      'Newest checkpoint: step 200, 2026-01-01 10:00:00 UTC, `00000200-0001-0a1b2c3d`',
      `> Warning, 2026-01-01 10:41:03 UTC: ${FULL}`,
    ]);
    const none = { ...calm, commit: null };
    expect(progressMarkdown('Stage 1, 64K', 'training', none)).toMatch(/\n\nNo checkpoint yet$/);
    expect(progressMarkdown('Evaluation', 'evaluation', none)).not.toMatch(/checkpoint/);
  });

  it('a run’s says the same of the stages under way, above its table', () => {
    const seen = seenOf(progress);
    const text = statusMarkdown(
      runStatus({
        stages: [
          stageStatus({ state: 'done', ...seen }),
          stageStatus({ state: 'running', title: 'Stage 2, 4K', ...seen }),
        ],
      }),
    );
    expect(text.split('\n\n').slice(1, 3)).toEqual([
      'Stage 2, 4K · Newest checkpoint: step 200, 2026-01-01 10:00:00 UTC',
      `> Warning, 2026-01-01 10:41:03 UTC: ${FULL}`,
    ]);
    expect(text.split('Newest checkpoint')).toHaveLength(2);
  });

  it('nothing that a job says is markup on them', () => {
    const warning = { text: '<b>[x](https://evil.example)</b> | `y`', at: AT };
    const texts = [
      progressMarkdown('Stage 1', 'training', { ...progress, warning }),
      statusMarkdown(runStatus({ stages: [stageStatus({ state: 'running', warning })] })),
    ];
    for (const text of texts)
      expect(text).toContain('\\<b\\>\\[x\\](https://evil.example)\\</b\\> \\| \\`y\\`');
  });
});
