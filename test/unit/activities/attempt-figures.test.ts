import { describe, expect, it } from 'vitest';
import { figuresOf, heldSecondsOf } from '../../../activities/attempt/figures.js';
import { NO_FACTS } from '../../../src/domain/attempt/facts.js';
import { outcomeSchema } from '../../../src/contracts/index.js';
import endedJson from '../../../src/contracts/fixtures/valid/outcome/ended.json' with { type: 'json' };

const CLAIMED_MS = Date.parse('2026-06-15T12:00:00.000Z');
/** Queued for 4 seconds, then at work for 60. */
const [QUEUED, AT_WORK] = [4, 60];

/** What is told of that attempt when the clock of the job's machine is so many seconds ahead of the worker's. */
function figures(aheadSeconds: number, bySecondsOfStore: number | null) {
  const at = (seconds: number) => new Date(CLAIMED_MS + (seconds + aheadSeconds) * 1000).toISOString();
  const [startedAt, endedAt] = [at(QUEUED), at(QUEUED + AT_WORK)];
  const outcome = outcomeSchema.parse({ ...endedJson, startedAt, endedAt });
  const end = {
    ended: { state: 'ended', exitCode: 0, endedAt },
    stop: null,
    stoppingSeconds: 0,
    hungSeconds: 0,
  } as const;
  const byStore =
    bySecondsOfStore === null ? null : { leastSeconds: bySecondsOfStore, mostSeconds: bySecondsOfStore };
  return figuresOf({ claimedAt: new Date(CLAIMED_MS).toISOString() }, outcome, NO_FACTS, end, byStore);
}

describe('how long an attempt took, and waited, is no difference of two machines’ clocks', () => {
  it.each([-3600, -180, -30, 30, 180, 3600])('with the job’s clock %i seconds ahead', (ahead) => {
    const { wallSeconds, seconds } = figures(ahead, QUEUED + AT_WORK);
    expect([wallSeconds, seconds.queued]).toEqual([QUEUED + AT_WORK, QUEUED]);
  });

  it('is told to the millisecond where they agree with the store, which tells seconds', () => {
    const { wallSeconds, seconds } = figures(0.25, QUEUED + AT_WORK - 1);
    expect([wallSeconds, seconds.queued]).toEqual([QUEUED + AT_WORK + 0.25, QUEUED + 0.25]);
  });

  describe('where the job left no outcome', () => {
    /** Its last event came two seconds before its end, which was seen a second after it. */
    const span = { leastSeconds: QUEUED + AT_WORK - 2, mostSeconds: QUEUED + AT_WORK + 1 };
    const killed = (aheadSeconds: number) => {
      const at = (seconds: number) => new Date(CLAIMED_MS + (seconds + aheadSeconds) * 1000).toISOString();
      const [startedAt, endedAt] = [at(QUEUED), at(QUEUED + AT_WORK)];
      const ended = { state: 'ended', exitCode: 137, startedAt, endedAt } as const;
      const end = { ended, stop: null, stoppingSeconds: 0, hungSeconds: 0 };
      return figuresOf({ claimedAt: new Date(CLAIMED_MS).toISOString() }, null, NO_FACTS, end, span);
    };

    it.each([-3600, -600, 600, 3600])('it is no more off than the span is long (%i s)', (ahead) => {
      const figuresThen = killed(ahead);
      expect(figuresThen.wallSeconds).toBe(ahead < 0 ? span.leastSeconds : span.mostSeconds);
      expect(figuresThen.seconds.queued).toBe(figuresThen.wallSeconds - AT_WORK);
      expect(heldSecondsOf(figuresThen)).toBe(AT_WORK);
    });

    it('it is told to the millisecond where the clocks agree with the span', () => {
      expect(killed(0.25).wallSeconds).toBe(QUEUED + AT_WORK + 0.25);
    });
  });

  it('is never less than nothing', () => {
    const { wallSeconds, seconds } = figures(-180, null);
    expect([wallSeconds, seconds.queued]).toEqual([0, 0]);
  });
});

describe('a wait for a place is no time in which devices were held', () => {
  const end = (startedSeconds: number | null, endedSeconds: number) =>
    ({
      ended: {
        state: 'ended',
        exitCode: 137,
        endedAt: instant(endedSeconds),
        ...(startedSeconds === null ? {} : { startedAt: instant(startedSeconds) }),
      },
      stop: null,
      stoppingSeconds: 0,
      hungSeconds: 0,
    }) as const;
  const instant = (seconds: number) => new Date(CLAIMED_MS + seconds * 1000).toISOString();
  const told = (startedSeconds: number | null, endedSeconds: number) =>
    figuresOf({ claimedAt: instant(0) }, null, NO_FACTS, end(startedSeconds, endedSeconds), null);

  it('also of a job that was killed and left no outcome', () => {
    const { wallSeconds, seconds } = told(3600, 3660);
    expect([wallSeconds, seconds.queued]).toEqual([3660, 3600]);
    expect(heldSecondsOf({ wallSeconds, seconds })).toBe(60);
  });

  it('is not known where the backend does not say when it started', () => {
    expect(told(null, 3660).seconds.queued).toBe(0);
  });

  it('is never less than nothing, nor more than there was', () => {
    expect(told(-5, 60).seconds.queued).toBe(0);
    expect(heldSecondsOf(told(90, 60))).toBe(0);
  });

  it('by the outcome where there is one', () => {
    expect(heldSecondsOf(figures(0, QUEUED + AT_WORK))).toBe(AT_WORK);
  });
});
