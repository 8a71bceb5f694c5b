import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JobEvent } from '../../../src/contracts/index.js';
import { jobPhaseSchema } from '../../../src/contracts/index.js';
import { JOB_PHASES } from '../../../src/domain/attempt/phase.js';
import type { JobPhase } from '../../../src/domain/attempt/phase.js';
import {
  LONGEST_TICK_SECONDS,
  StepWatchdog,
  hangText,
  watchdogLearnedSchema,
} from '../../../src/domain/attempt/watchdog.js';
import type {
  WatchdogLearned,
  WatchdogSettings,
  WatchdogVerdict,
} from '../../../src/domain/attempt/watchdog.js';

const SETTINGS: WatchdogSettings = {
  factor: 5,
  floorSeconds: { import: 30, load: 60, 'first-step': 40, step: 10, save: 50, evaluate: 20, export: 70 },
};

/** A job and its observer on one simulated clock: the job speaks, the observer looks every half second. */
class Scene {
  seconds = 0;
  #step = 0;
  readonly watchdog: StepWatchdog;

  constructor(learned?: WatchdogLearned, settings: WatchdogSettings = SETTINGS) {
    this.watchdog = new StepWatchdog(settings, learned);
    this.#tick(true);
  }

  /** Time passes; the verdict is the first that says hung, or else the last. */
  pass(seconds: number, storeReadable = true): WatchdogVerdict {
    const end = this.seconds + seconds;
    let verdict = this.watchdog.verdict;
    while (this.seconds < end && !verdict.hung) {
      this.seconds = Math.min(end, this.seconds + 0.5);
      verdict = this.#tick(storeReadable);
    }
    return verdict;
  }

  phase(phase: JobPhase): this {
    this.watchdog.add({ type: 'phase', at: this.#at(), phase });
    return this;
  }

  /** A step that has just taken `seconds`; the time is passed before. */
  step(seconds: number): WatchdogVerdict {
    const verdict = this.pass(seconds);
    this.#step += 1;
    this.watchdog.add({ type: 'step', step: this.#step, seconds });
    return verdict;
  }

  /** A job in the middle of training, with steps of a second. */
  training(steps = 3): this {
    this.phase('import').phase('load').phase('first-step');
    for (let count = 0; count < steps; count += 1) this.step(1);
    return this;
  }

  #at(): string {
    return new Date(Date.UTC(2026, 0, 1) + this.seconds * 1000).toISOString();
  }

  #tick(storeReadable: boolean): WatchdogVerdict {
    return this.watchdog.tick({ monotonicSeconds: 1000 + this.seconds, storeReadable });
  }
}

describe('alive is not progress', () => {
  it('catches a job that goes on talking and brings no step', () => {
    const scene = new Scene().training();
    let verdict = scene.watchdog.verdict;
    while (!verdict.hung) {
      scene.watchdog.add({ type: 'log' });
      verdict = scene.pass(1);
    }
    expect(verdict).toMatchObject({ phase: 'step', limitSeconds: 10, slowestSeconds: null });
    expect(verdict.secondsWithoutProgress).toBeCloseTo(10.5);
    expect(hangText(verdict)).toBe(
      'no progress for 11 s in phase "step", where 10 s are allowed (the recipe’s floor)',
    );
  });

  it('catches a job that swings between phases, whichever it swings between', () => {
    const phase = fc.constantFrom<JobPhase>('load', 'step', 'save', 'evaluate');
    fc.assert(
      fc.property(fc.array(fc.record({ phase, seconds: fc.integer({ min: 1, max: 9 }) })), (moves) => {
        const scene = new Scene().training();
        const cycle = [...moves, { phase: 'step' as const, seconds: 1 }];
        const bound = Object.values(SETTINGS.floorSeconds).reduce((sum, one) => sum + one, 0) * 5;
        let verdict = scene.watchdog.verdict;
        for (let index = 0; !verdict.hung && scene.seconds < bound * cycle.length; index += 1) {
          const move = cycle[index % cycle.length];
          if (move === undefined) break;
          verdict = scene.phase(move.phase).pass(move.seconds);
        }
        expect(verdict.hung).toBe(true);
      }),
    );
  });

  it('catches a job that repeats a step it has done', () => {
    const scene = new Scene().training(3);
    let verdict = scene.watchdog.verdict;
    for (let round = 0; round < 20 && !verdict.hung; round += 1) {
      scene.watchdog.add({ type: 'step', step: 3, seconds: 1 });
      verdict = scene.pass(1);
    }
    expect(verdict.hung).toBe(true);
  });

  it('takes no commit for a step: uploads in the background go on when training stands still', () => {
    const scene = new Scene().training();
    scene.pass(9);
    scene.watchdog.add({ type: 'commit', commit: '00000003-0001-00000000', seconds: 2 });
    expect(scene.pass(2)).toMatchObject({ hung: true, phase: 'step' });
  });

  it('catches an evaluation that finishes no further sample', () => {
    const scene = new Scene().phase('load').phase('evaluate');
    scene.pass(3);
    scene.watchdog.add({ type: 'sample', at: '2026-01-01T00:00:03.000Z', done: 4 });
    expect(scene.pass(19).hung).toBe(false);
    scene.watchdog.add({ type: 'sample', at: '2026-01-01T00:00:22.000Z', done: 4 });
    expect(scene.pass(2)).toMatchObject({ hung: true, phase: 'evaluate', limitSeconds: 20 });
  });
});

describe('a phase that never comes', () => {
  it('is missed: the clock of the phase before runs on', () => {
    expect(new Scene().pass(1000)).toMatchObject({ hung: true, phase: 'import', limitSeconds: 30 });
    expect(new Scene().phase('import').phase('load').pass(1000)).toMatchObject({ phase: 'load' });
    expect(new Scene().phase('load').phase('first-step').pass(1000)).toMatchObject({
      hung: true,
      phase: 'first-step',
      limitSeconds: 40,
    });
    expect(new Scene().training().phase('export').pass(1000)).toMatchObject({ hung: true, phase: 'export' });
  });

  it('costs nothing: a job that announces no phase and steps is well', () => {
    const scene = new Scene();
    for (let count = 0; count < 50; count += 1) expect(scene.step(2).hung).toBe(false);
    expect(scene.watchdog.verdict.phase).toBe('step');
  });
});

describe('slow is not hung', () => {
  it('gives a step so many times what the slowest recent one took', () => {
    const scene = new Scene().training();
    scene.step(8);
    expect(scene.pass(39)).toMatchObject({ hung: false, limitSeconds: 40, slowestSeconds: 8 });
    expect(scene.pass(2).hung).toBe(true);
    expect(hangText(scene.watchdog.verdict)).toContain('the slowest of late took 8 s');
  });

  it('lets a job slow down without end, as long as no step takes that many times the slowest before it', () => {
    const slowdown = fc.array(fc.double({ min: 0.1, max: 4.5, noNaN: true }), { maxLength: 12 });
    fc.assert(
      fc.property(slowdown, (ratios) => {
        const scene = new Scene().training();
        const recent = [1];
        for (const ratio of ratios) {
          const seconds = Math.min(1000, ratio * Math.max(...recent));
          expect(scene.step(seconds).hung).toBe(false);
          recent.push(seconds);
        }
      }),
    );
  });

  it('forgets a slow step once enough others have come: a hang is not waited for by the standard of one bad minute', () => {
    const scene = new Scene().training();
    scene.step(9);
    for (let count = 0; count < 20; count += 1) scene.step(1);
    expect(scene.watchdog.verdict.limitSeconds).toBe(10);
  });

  it('has another limit for a save than for a step', () => {
    const scene = new Scene().training().phase('save');
    expect(scene.pass(49)).toMatchObject({ hung: false, phase: 'save' });
    scene.watchdog.add({ type: 'commit', commit: '00000003-0001-00000000', seconds: 49 });
    expect(scene.pass(9)).toMatchObject({ hung: false, phase: 'step' });
    scene.step(1);
    expect(scene.phase('save').pass(200)).toMatchObject({
      hung: false,
      limitSeconds: 245,
      slowestSeconds: 49,
    });
  });

  it('allows a save to be waited for between two steps, also by a job that does not announce it', () => {
    const scene = new Scene().training();
    scene.pass(4);
    scene.watchdog.add({ type: 'commit', commit: '00000003-0001-00000000', seconds: 30 });
    scene.step(1);
    expect(scene.pass(140)).toMatchObject({
      hung: false,
      phase: 'step',
      limitSeconds: 150,
      slowestSeconds: 30,
    });
    expect(scene.pass(20).hung).toBe(true);
  });

  it('measures loading and importing by the job’s own clock, whatever the observer’s says', () => {
    const scene = new Scene();
    scene.watchdog.add({ type: 'phase', at: '1999-12-31T23:59:00.000Z', phase: 'import' });
    scene.watchdog.add({ type: 'phase', at: '1999-12-31T23:59:20.000Z', phase: 'load' });
    scene.watchdog.add({ type: 'phase', at: '1999-12-31T23:58:00.000Z', phase: 'first-step' });
    expect(scene.watchdog.learned).toEqual({ import: [20] });
  });
});

describe('what was measured is kept', () => {
  it('goes from attempt to attempt as plain JSON', () => {
    const first = new Scene().training();
    first.step(8);
    const handed = watchdogLearnedSchema.parse(JSON.parse(JSON.stringify(first.watchdog.learned)));
    const second = new Scene(handed).phase('load').phase('first-step');
    expect(second.step(39).hung).toBe(false);
    expect(second.pass(1).limitSeconds).toBe(5 * 39);
    expect(second.watchdog.learned.step).toEqual([1, 1, 1, 8, 39]);
    expect(second.watchdog.learned['first-step']).toEqual([1, 39]);
  });

  it('stays small, however long the run', () => {
    const scene = new Scene().training(500);
    expect(JSON.stringify(scene.watchdog.learned).length).toBeLessThan(500);
  });
});

describe('no job is killed for what its observer did not see', () => {
  it('counts no time in which the store could not be read', () => {
    const scene = new Scene().training();
    expect(scene.pass(6).hung).toBe(false);
    expect(scene.pass(100_000, false)).toMatchObject({ hung: false, secondsWithoutProgress: 6 });
    expect(scene.pass(3.5).hung).toBe(false);
    expect(scene.pass(1).hung).toBe(true);
  });

  it('counts little of the time in which it was stopped itself', () => {
    const { watchdog } = new Scene(undefined, {
      ...SETTINGS,
      floorSeconds: { ...SETTINGS.floorSeconds, import: 60 },
    });
    const verdict = watchdog.tick({ monotonicSeconds: 1_000_000, storeReadable: true });
    expect(verdict).toMatchObject({ hung: false, secondsWithoutProgress: LONGEST_TICK_SECONDS });
  });

  it('starts its clocks anew when another observer takes over', () => {
    const before = new Scene().training();
    before.pass(9);
    const after = new Scene(before.watchdog.learned).training();
    expect(after.pass(9).hung).toBe(false);
  });
});

describe('the watchdog reads the events of the contract', () => {
  it('knows every phase', () => {
    expect(jobPhaseSchema.options).toEqual(JOB_PHASES);
  });

  it('takes every event', () => {
    const at = '2026-01-01T00:00:00.000Z';
    const events: JobEvent[] = [
      { type: 'phase', at, phase: 'load' },
      { type: 'log', at, level: 'info', message: '' },
      { type: 'sample', at, target: 'base', task: 'needle', done: 1, total: 2 },
    ];
    const { watchdog } = new Scene();
    events.forEach((event) => watchdog.add(event));
    expect(watchdog.verdict.phase).toBe('evaluate');
  });
});
