import { describe, expect, it } from 'vitest';
import { asClosed } from '../../../src/cli/run-watcher.js';
import { statusLines } from '../../../src/cli/run-text.js';
import { RUN_STATES, STAGE_STATES } from '../../../src/domain/run/status.js';
import { runStatus, stageStatus } from '../../support/run-status.js';

const startedAt = '2026-01-01T00:00:00.000Z';
const closing = { how: 'terminated', endedAt: '2026-01-01T00:01:00.000Z' };

describe('a run that was terminated is not said to go on, whatever it was doing', () => {
  const cases = RUN_STATES.flatMap((state) => STAGE_STATES.map((stage) => [state, stage] as const));

  it.each(cases)('%s, with a stage that is %s', (state, stage) => {
    const stages = [stageStatus({ state: stage, startedAt, secondsLeft: 840 })];
    const text = statusLines(asClosed(runStatus({ state, stages }), closing), Date.parse(startedAt)).join(
      '\n',
    );
    expect(text).not.toMatch(/running|left$|waits for/m);
    expect(text).toContain('the workflow was terminated from outside');
  });
});
