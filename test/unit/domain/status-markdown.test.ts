import { describe, expect, it } from 'vitest';
import { FAILURES } from '../../../src/domain/attempt/failure-class.js';
import type { Parked, RunStatus } from '../../../src/domain/run/status.js';
import { statusMarkdown } from '../../../src/domain/run/status-markdown.js';
import { runStatus } from '../../support/run-status.js';

const parked: Parked = {
  folder: '04-stage-1',
  class: 'out-of-memory',
  message: 'CUDA out of memory',
  why: 'out-of-memory: the allowance of relaunches without progress (1) is used up',
  attempts: 2,
  checkpoints: ['00000010-0001-0123abcd'],
  logTail: ['step 11', '```', 'OutOfMemoryError'],
  choices: ['retryStage: attempts it again', 'abort: ends the run'],
};

const status = (change: Partial<RunStatus>) => runStatus({ state: 'parked', ...change });

describe('a parked run says on one screen what happened and what to do', () => {
  it('names the stage, the class, the reason, the newest checkpoint, the log and the choices', () => {
    const text = statusMarkdown(status({ parked, problems: ['04-stage-1: CUDA out of memory'] }));
    for (const part of [
      '**04-stage-1 is parked: out-of-memory**',
      '> CUDA out of memory',
      'used up',
      '`00000010-0001-0123abcd`',
      'OutOfMemoryError',
      `What mends out-of-memory as a rule: ${FAILURES['out-of-memory'].remedy}.`,
      '- retryStage',
    ])
      expect(text).toContain(part);
    expect(text.split('CUDA out of memory')).toHaveLength(2);
  });

  it('keeps a log from ending its own block', () => {
    expect(statusMarkdown(status({ parked })).match(/```/g)).toHaveLength(2);
  });

  it('says what a paused run waits for', () => {
    const text = statusMarkdown(status({ state: 'paused', waitingFor: 'resume; paused by kim: lunch' }));
    expect(text).toContain('Waiting for: resume; paused by kim: lunch');
  });

  it('says in its first line where everything is, because the UI may cut the last ones', () => {
    expect(statusMarkdown(status({ state: 'completed' })).split('\n')[0]).toBe(
      '**r** · preset `tiny` · **completed** · below `s3://bucket/dev/runs/r`',
    );
  });
});
