import { describe, expect, it } from 'vitest';
import { statusLines } from '../../../src/cli/run-text.js';
import { progressMarkdown, statusMarkdown } from '../../../src/domain/run/status-markdown.js';
import { ProgressTracker } from '../../../src/domain/run/progress.js';
import { STAGE_STATES } from '../../../src/domain/run/status.js';
import { STATE_MARKS } from '../../../src/domain/run/words.js';
import { runStatus, stageStatus } from '../../support/run-status.js';

describe('a state is shown alike in the terminal and in the Temporal UI', () => {
  it.each(STAGE_STATES)('%s', (state) => {
    const status = runStatus({ stages: [stageStatus({ state, title: 'Stage 1' })] });
    const mark = STATE_MARKS[state];
    expect(statusLines(status, 0)[1]?.trimStart()[0]).toBe(mark);
    expect(statusMarkdown(status)).toContain(`| ${mark} | Stage 1 | ${state} |`);
  });

  it('by marks that are one column wide', () => {
    for (const mark of Object.values(STATE_MARKS)) expect(Array.from(mark)).toHaveLength(1);
  });

  it('that it is paused, of the stage that waits for it', () => {
    const status = runStatus({ stages: [stageStatus({ note: 'paused' })] });
    expect(statusLines(status, 0)[1]).toMatch(/paused$/);
    expect(statusMarkdown(status)).toContain('| paused |');
  });
});

describe('the progress of an evaluation is counted in samples', () => {
  it('in the terminal and on its own page', () => {
    const tracker = new ProgressTracker(1, null);
    tracker.add({ type: 'sample', at: '2026-01-01T00:00:00.000Z', done: 40, total: 100 });
    const { step, steps } = tracker.progress;
    const stage = stageStatus({ kind: 'evaluation', state: 'running', step, steps });
    expect(statusLines(runStatus({ stages: [stage] }), 0)[1]).toContain('sample 40/100');
    expect(progressMarkdown('Evaluation', 'evaluation', tracker.progress)).toContain('Sample 40 of 100');
    expect(progressMarkdown('Stage 1', 'training', tracker.progress)).toContain('Step 40 of 100');
  });
});
