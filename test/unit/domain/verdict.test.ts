import { describe, expect, it } from 'vitest';
import { EXIT_CODES } from '../../../src/contracts/index.js';
import { FAILURE_CLASSES } from '../../../src/domain/attempt/failure-class.js';
import { nodesToAvoid } from '../../../src/domain/attempt/policy.js';
import { STOPPED_AS_ASKED, stopNote, verdictOf } from '../../../src/domain/attempt/verdict.js';
import type { EndEvidence, EndVerdict, StopReason } from '../../../src/domain/attempt/verdict.js';

const verdict = (one: Partial<EndEvidence>): EndVerdict =>
  verdictOf({ stop: null, outcome: null, exitCode: 1, ...one });
const numerics = {
  class: 'numerics',
  message: 'loss is NaN',
  exception: 'NumericsError',
  frames: ['step.py:train_step'],
  step: 7,
} as const;
const sigterm = {
  class: 'preempted',
  message: 'stopped by SIGTERM',
  exception: '',
  frames: [],
  step: 7,
} as const;
const SKEWED = 'the outcome could not be written: s3://b/o: the store answered 403 RequestTimeTooSkewed';

describe('why a job ended that nobody stopped is decided by the best evidence there is', () => {
  it('believes the scheduler before the outcome and the outcome before the exit code', () => {
    expect(verdict({ reason: 'preempted', outcome: numerics, exitCode: 137 }).class).toBe('preempted');
    expect(verdict({ outcome: numerics, exitCode: 137 }).class).toBe('numerics');
    expect(verdict({ exitCode: EXIT_CODES.fenced }).class).toBe('fenced');
  });

  it('takes 137 alone as unknown: a kill says nothing about who killed', () => {
    expect(verdict({ exitCode: 137 }).class).toBe('unknown');
  });

  it('takes a job that is gone without a trace as the machine’s fault', () => {
    expect(verdict({ exitCode: null }).class).toBe('infrastructure');
  });

  it('tells what a trainer said last that could write no outcome', () => {
    const logTail = ['longhaul: s3://b/HEAD: …; trying again', 'step 1', `longhaul: ${SKEWED}`, 'bye'];
    const { class: failureClass, message } = verdict({ exitCode: 70, logTail });
    expect(failureClass).toBe('infrastructure');
    expect(message).toBe(`the job ended with exit code 70 and left no outcome: ${SKEWED}`);
    expect(verdict({ exitCode: 70, logTail: ['step 1'] }).message).toMatch(/no outcome$/);
  });

  it('reads every class back from the exit code that the wrapper gives it', () => {
    for (const one of FAILURE_CLASSES) expect(verdict({ exitCode: EXIT_CODES[one] }).class).toBe(one);
  });

  it('tells a loss that breaks at another step as another failure', () => {
    const { signature } = verdict({ outcome: numerics });
    expect(verdict({ outcome: { ...numerics, step: 8 } }).signature).not.toBe(signature);
  });

  it('has a node avoided at once whose clock is wrong, whether its trainer could say so in an outcome or not', () => {
    const outcome = {
      class: 'infrastructure',
      message: SKEWED,
      exception: 'longhaul_trainer.errors.ClockError',
      frames: ['store.py:get'],
      step: 3,
    } as const;
    const ends = [verdict({ outcome }), verdict({ exitCode: 70, logTail: [`longhaul: ${SKEWED}`] })];
    const record = { epoch: 1, progressed: false, step: 0, node: 'a' };
    for (const { class: failureClass, signature } of ends)
      expect(nodesToAvoid([{ ...record, class: failureClass, signature }])).toEqual(['a']);
  });
});

describe('a job that was stopped ended for the reason of whoever stopped it', () => {
  const hang = { kind: 'hang', why: 'no progress for 60 s', phase: 'save' } as const;

  it('hung, with what it said in the end if that tells more', () => {
    expect(verdict({ stop: hang, outcome: sigterm })).toEqual({
      class: 'hang',
      message: hang.why,
      signature: 'hang|save',
    });
    const said = `${hang.why}. What the job said in the end: the store refuses`;
    expect(verdict({ stop: hang, outcome: { ...sigterm, message: 'the store refuses' } }).message).toBe(said);
    expect(verdict({ stop: hang, logTail: ['longhaul: the store refuses'] }).message).toBe(said);
  });

  it('as asked, whatever its outcome says', () => {
    const stop = { kind: 'stop', why: 'cancelled' } as const;
    expect(verdict({ stop, outcome: sigterm })).toEqual(STOPPED_AS_ASKED);
    expect(verdict({ stop, outcome: numerics })).toEqual(STOPPED_AS_ASKED);
  });

  it.each<[string, StopReason]>([
    ['its watcher', { kind: 'stop', why: 'closed' }],
    ['the janitor', { kind: 'orphan', why: 'its workflow r/04 is closed (terminated)' }],
  ])('with its workflow, when %s found that closed: it has not failed', (_, stop) => {
    expect(verdict({ stop, outcome: sigterm })).toMatchObject({ class: 'cancelled', signature: 'orphan' });
  });

  it('by its own word when its activity goes on elsewhere', () => {
    for (const why of ['paused', 'worker-shutdown'] as const)
      expect(verdict({ stop: { kind: 'stop', why }, outcome: sigterm }).class).toBe('preempted');
  });

  it('with a note for the reader of the ledger', () => {
    expect(stopNote(hang)).toBe('stopped by the watchdog');
    expect(stopNote({ kind: 'stop', why: 'closed' })).toBe('the workflow was closed while its job ran');
    expect(stopNote({ kind: 'refused' })).toBe('');
    expect(stopNote(null)).toBe('');
  });
});

describe('a job that gave up because nobody renewed its lease', () => {
  it('was left by the machinery, whoever records its end: nobody had asked for it', () => {
    const message = 'nobody has renewed the lease for 30 s';
    const left = { ...sigterm, class: 'cancelled', message } as const;
    expect(verdict({ outcome: left, exitCode: EXIT_CODES.cancelled })).toEqual({
      class: 'infrastructure',
      message,
      signature: 'lease',
    });
  });
});

describe('what a job says of itself is kept within limits', () => {
  const saying = (message: string, last: string) =>
    verdict({ outcome: { ...numerics, class: 'unknown', message, frames: ['x'.repeat(5_000_000), last] } });

  it('with head and tail, and signatures that differ in either still do', () => {
    const [one, same, other] = [saying('a', 'f:g'), saying('b', 'f:g'), saying('a', 'f:h')];
    expect(one.signature).toHaveLength(1000);
    expect(one.signature).toBe(same.signature);
    expect(one.signature).not.toBe(other.signature);
    const { message } = saying(`head${'y'.repeat(5_000_000)}tail`, '');
    expect(message).toHaveLength(4000);
    expect(message).toMatch(/^head.* characters left out .*tail$/);
  });
});
