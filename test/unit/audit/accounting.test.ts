import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accountFor } from '../../../src/audit/accounting.js';
import type { LabelledSeconds } from '../../../src/audit/audit-data.js';
import { ended, gathered, opened, seconds, stageEnded, started } from './sample.js';
import type { Timed } from './sample.js';

const NONE: LabelledSeconds = {
  useful: 0,
  replayed: 0,
  queued: 0,
  starting: 0,
  saving: 0,
  hung: 0,
  parked: 0,
  other: 0,
};

/** Seconds by label of one training stage that lasted so long and had these attempts. */
function account(lengthSeconds: number, records: readonly Timed[]): LabelledSeconds {
  const run = gathered(
    [
      [0, started('a')],
      [lengthSeconds, stageEnded('a')],
    ],
    { a: records },
  );
  return accountFor(run).seconds;
}

function total(labelled: LabelledSeconds): number {
  return Object.values(labelled).reduce((sum, value) => sum + value, 0);
}

describe('an attempt that went through', () => {
  it('is useful but for its start and its saves', () => {
    const own = seconds({ import: 4, load: 1, firstStep: 3, step: 27, save: 2, export: 1, queued: 2 });
    expect(
      account(40, [
        [0, opened(1)],
        [40, ended(1, 'done', { step: 28, seconds: own, wallSeconds: 40 })],
      ]),
    ).toEqual({
      ...NONE,
      // 28 steps of a second each; the first took two seconds longer.
      useful: 28,
      starting: 7,
      saving: 3,
      queued: 2,
    });
  });

  it('of one step only, has nothing to compare the first with', () => {
    const own = seconds({ firstStep: 5 });
    const records: Timed[] = [
      [0, opened(1)],
      [5, ended(1, 'done', { step: 1, seconds: own, wallSeconds: 5 })],
    ];
    expect(account(5, records)).toEqual({ ...NONE, useful: 5 });
  });

  it('of an evaluation is useful while it evaluates', () => {
    const own = seconds({ import: 4, evaluate: 16 });
    const records: Timed[] = [
      [0, opened(1)],
      [20, ended(1, 'done', { step: 90, seconds: own, wallSeconds: 20 })],
    ];
    const run = gathered(
      [
        [0, started('a', 'evaluation')],
        [20, stageEnded('a')],
      ],
      { a: records },
    );
    expect(accountFor(run).seconds).toEqual({ ...NONE, starting: 4, useful: 16 });
  });
});

describe('steps made in vain are replayed', () => {
  it('those after the commit that the next attempt began at', () => {
    const own = seconds({ step: 30 });
    expect(
      account(60, [
        [0, opened(1)],
        [30, ended(1, 'preempted', { step: 30, commits: [20], seconds: own, wallSeconds: 30 })],
        [30, opened(2, 20)],
        [60, ended(2, 'done', { step: 50, seconds: own, wallSeconds: 30 })],
      ]),
    ).toEqual({ ...NONE, useful: 50, replayed: 10 });
  });

  it('through several attempts, when a later one falls back behind them', () => {
    const own = seconds({ step: 10 });
    expect(
      account(40, [
        [0, opened(1)],
        [10, ended(1, 'preempted', { step: 10, commits: [10], seconds: own, wallSeconds: 10 })],
        [10, opened(2, 10)],
        [20, ended(2, 'checkpoint', { step: 20, commits: [20], seconds: own, wallSeconds: 10 })],
        [20, opened(3, 5)],
        [40, ended(3, 'done', { step: 25, seconds: seconds({ step: 20 }), wallSeconds: 20 })],
      ]),
    ).toEqual({ ...NONE, useful: 25, replayed: 15 });
  });

  it('all of them, when a finished stage is made anew from the start', () => {
    const own = seconds({ step: 10 });
    expect(
      account(20, [
        [0, opened(1)],
        [10, ended(1, 'done', { step: 10, commits: [10], seconds: own, wallSeconds: 10 })],
        [10, opened(2)],
        [20, ended(2, 'done', { step: 10, commits: [10], seconds: own, wallSeconds: 10 })],
      ]),
    ).toEqual({ ...NONE, useful: 10, replayed: 10 });
  });

  it('of the last attempt those after its last commit, as long as nobody goes on', () => {
    const own = seconds({ step: 30 });
    const end = ended(1, 'hang', { step: 30, commits: [20], seconds: own, wallSeconds: 30 });
    expect(
      account(30, [
        [0, opened(1)],
        [30, end],
      ]),
    ).toEqual({ ...NONE, useful: 20, replayed: 10 });
  });
});

describe('what nobody counted as work', () => {
  it('waiting for the next attempt is queued', () => {
    const own = seconds({ step: 10 });
    expect(
      account(35, [
        [0, opened(1)],
        [10, ended(1, 'capacity', { step: 10, commits: [10], seconds: own, wallSeconds: 10 })],
        [25, opened(2, 10)],
        [35, ended(2, 'done', { step: 20, seconds: own, wallSeconds: 10 })],
      ]),
    ).toEqual({ ...NONE, useful: 20, queued: 15 });
  });

  it('a job that was killed keeps no books: what was not seen is unmeasured', () => {
    const end = ended(1, 'unknown', {
      step: 8,
      commits: [8],
      seconds: seconds({ step: 8 }),
      wallSeconds: 20,
    });
    expect(
      account(20, [
        [0, opened(1)],
        [20, end],
      ]),
    ).toEqual({ ...NONE, useful: 8, other: 12 });
  });

  it('an attempt whose end nobody recorded is unmeasured, until the next one or the stage’s end', () => {
    const end = ended(2, 'done', { step: 10, seconds: seconds({ step: 10 }), wallSeconds: 10 });
    expect(
      account(40, [
        [0, opened(1)],
        [30, opened(2)],
        [40, end],
      ]),
    ).toEqual({ ...NONE, other: 30, useful: 10 });
    expect(account(40, [[10, opened(1)]])).toEqual({ ...NONE, queued: 10, other: 30 });
  });

  it('an attempt that was claimed and never ran has waited for a place, and held nothing', () => {
    const records: Timed[] = [
      [0, opened(1)],
      [30, opened(2)],
      [40, ended(2, 'done', { step: 10, seconds: seconds({ step: 10 }), wallSeconds: 10 })],
    ];
    const run = gathered(
      [
        [0, started('a')],
        [40, stageEnded('a')],
      ],
      { a: records },
    );
    const attempts = [
      { epoch: 1, ran: false, outcome: null },
      { epoch: 2, ran: true, outcome: null },
    ];
    const stages = run.stages.map((stage) => ({ ...stage, attempts }));
    const { seconds: labelled, cost } = accountFor({ ...run, stages });
    expect(labelled).toEqual({ ...NONE, queued: 30, useful: 10 });
    expect(cost?.total).toBeCloseTo(10 * 0.002);
  });

  it('the last save of a job that is told to stop counts once, although two have seen it', () => {
    const own = seconds({ step: 10, save: 4, stopping: 5 });
    const end = ended(1, 'preempted', { step: 10, commits: [10], seconds: own, wallSeconds: 15 });
    expect(
      account(15, [
        [0, opened(1)],
        [15, end],
      ]),
    ).toEqual({ ...NONE, useful: 10, saving: 5 });
  });

  it('seconds without progress are hung', () => {
    const own = seconds({ step: 10, hung: 60 });
    const end = ended(1, 'hang', { step: 10, commits: [10], seconds: own, wallSeconds: 70 });
    expect(
      account(70, [
        [0, opened(1)],
        [70, end],
      ]),
    ).toEqual({ ...NONE, useful: 10, hung: 60 });
  });
});

describe('waiting for people is parked', () => {
  it('from a park to the next attempt', () => {
    const own = seconds({ step: 10 });
    const run = gathered(
      [
        [0, started('a')],
        [10, stageEnded('a', 'parked')],
        [120, stageEnded('a')],
      ],
      {
        a: [
          [0, opened(1)],
          [10, ended(1, 'hang', { step: 10, commits: [10], seconds: own, wallSeconds: 10 })],
          [110, opened(2, 10)],
          [120, ended(2, 'done', { step: 20, seconds: own, wallSeconds: 10 })],
        ],
      },
    );
    expect(accountFor(run)).toMatchObject({
      seconds: { ...NONE, useful: 20, parked: 100 },
      waitingSeconds: 0,
    });
  });

  it('up to the end of a run that was given up', () => {
    const run = gathered([
      [0, started('a')],
      [10, stageEnded('a', 'paused')],
      [70, { type: 'run-ended', state: 'cancelled', why: '' }],
    ]);
    expect(accountFor(run).seconds).toEqual({ ...NONE, queued: 10, parked: 60 });
  });

  it('between stages, at a gate', () => {
    const run = gathered([
      [0, started('a', 'curation')],
      [10, stageEnded('a')],
      [70, started('b')],
      [80, stageEnded('b')],
    ]);
    expect(accountFor(run)).toMatchObject({
      waitingSeconds: 60,
      secondsWithoutDevices: 10,
      allSeconds: 70,
      seconds: { parked: 60, queued: 10 },
    });
  });

  it('but not between the end of a run and its second start', () => {
    const identity = { run: 'r', recipeDigest: `sha256:${'0'.repeat(64)}`, namespace: 'n', workflowId: 'r' };
    const run = gathered([
      [0, { type: 'run-opened', ...identity, runId: '1' }],
      [0, started('a')],
      [10, stageEnded('a')],
      [10, { type: 'run-ended', state: 'completed', why: '' }],
      [1000, { type: 'run-opened', ...identity, runId: '2' }],
      [1000, started('a')],
      [1001, stageEnded('a', 'adopted')],
    ]);
    expect(accountFor(run)).toMatchObject({ waitingSeconds: 0, allSeconds: 11 });
  });

  it('nor between the end of a run and its reset, which goes on with the stage that was cut off', () => {
    const run = gathered([
      [0, started('a')],
      [10, { type: 'run-ended', state: 'terminated', why: '' }],
      [1000, { type: 'run-reset', runId: '2', remembers: 1, why: '' }],
      [1005, stageEnded('a')],
    ]);
    expect(accountFor(run)).toMatchObject({ waitingSeconds: 0, allSeconds: 15 });
  });
});

describe('cost', () => {
  it('is devices × hours × price while devices are held, by label', () => {
    const own = seconds({ queued: 100, import: 10, step: 20, hung: 30 });
    const end = ended(1, 'done', { step: 20, seconds: own, wallSeconds: 160 });
    const { cost } = accountFor(
      gathered(
        [
          [0, started('a')],
          [200, stageEnded('a')],
        ],
        {
          a: [
            [0, opened(1)],
            [160, end],
          ],
        },
      ),
    );
    expect(cost).toMatchObject({ gpu: 'H100', gpus: 2, pricePerGpuHour: 3.6 });
    expect(cost?.byLabel.useful).toBeCloseTo(0.04);
    expect(cost?.byLabel.starting).toBeCloseTo(0.02);
    expect(cost?.byLabel.hung).toBeCloseTo(0.06);
    expect(cost?.byLabel.queued).toBe(0);
    expect(cost?.total).toBeCloseTo(0.12);
  });

  it('is not reckoned without a recipe, and goodput not without jobs', () => {
    const run = {
      ...gathered([
        [0, started('a', 'curation')],
        [10, stageEnded('a')],
      ]),
      recipe: null,
    };
    expect(accountFor(run)).toMatchObject({
      cost: null,
      goodput: null,
      goodputWhileHeld: null,
      allSeconds: 0,
    });
  });
});

describe('whatever happened', () => {
  const attempt = fc.record({
    class: fc.constantFrom('preempted', 'hang', 'unknown', 'done', 'numerics'),
    steps: fc.nat(50),
    committedShare: fc.double({ min: 0, max: 1, noNaN: true }),
    fallBack: fc.boolean(),
    gap: fc.nat(20),
    unrecorded: fc.boolean(),
    seconds: fc.record(
      Object.fromEntries(
        Object.keys(seconds()).map((label) => [label, fc.double({ min: 0, max: 100, noNaN: true })] as const),
      ),
    ),
    wallShare: fc.double({ min: 0, max: 3, noNaN: true }),
  });

  it('every second of a stage has exactly one label, and none is negative', () => {
    fc.assert(
      fc.property(fc.array(attempt, { maxLength: 6 }), (attempts) => {
        const records: Timed[] = [];
        let now = 0;
        let step = 0;
        for (const [index, one] of attempts.entries()) {
          const epoch = index + 1;
          const from = one.fallBack ? Math.floor(step / 2) : step;
          now += one.gap;
          records.push([now, opened(epoch, from)]);
          const own = seconds(one.seconds);
          // Instants have milliseconds: so have the durations that are compared with them.
          const wallSeconds =
            Math.round(Object.values(own).reduce((sum, value) => sum + value, 0) * one.wallShare * 1000) /
            1000;
          now += wallSeconds;
          const end = from + one.steps;
          const committed = from + Math.floor(one.steps * one.committedShare);
          step = committed;
          if (one.unrecorded) continue;
          const given = {
            step: end,
            commits: committed > from ? [committed] : [],
            seconds: own,
            wallSeconds,
          };
          records.push([now, ended(epoch, one.class, given)]);
        }
        const labelled = account(now + 5, records);
        expect(Math.min(...Object.values(labelled))).toBeGreaterThanOrEqual(0);
        expect(total(labelled)).toBeCloseTo(now + 5, 2);
      }),
    );
  });
});
