import { defaultPayloadConverter } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config.js';
import { startFormLink, workflowLink } from '../../../src/cli/links.js';
import { progressLine, statusLines } from '../../../src/cli/run-text.js';
import { pendingWork } from '../../../src/cli/pending-work.js';
import { plainView } from '../../../src/cli/run-view.js';
import { withProgress } from '../../../src/cli/run-watcher.js';
import { nameForLater, newRunName } from '../../../src/cli/start-run.js';
import type { RunStatus, StageStatus } from '../../../src/domain/run/status.js';
import { runStatus, stageStatus } from '../../support/run-status.js';

const now = Date.parse('2026-01-01T00:01:00.000Z');

const waiting = stageStatus({ steps: 50 });

const running: StageStatus = {
  ...waiting,
  state: 'running',
  step: 20,
  tokens: 327_680,
  loss: 3.25,
  tokensPerSecond: 7512.4,
  secondsLeft: 65,
  attempts: 1,
  startedAt: '2026-01-01T00:00:30.000Z',
  note: 'step',
};

const statusOf = (...stages: StageStatus[]): RunStatus =>
  runStatus({ run: 'tiny-1', stages, runUrl: 's3://longhaul/dev/runs/tiny-1', recipeDigest: 'sha256:0' });

describe('a run in the terminal', () => {
  it('shows stage, step, tokens, loss, speed and time left', () => {
    expect(progressLine(statusOf(running), now)).toBe(
      'Stage 1, 1K  step 20/50  328K tokens  loss 3.250  7,512 tokens/s  1 min 5 s left  step',
    );
  });

  it('lists every stage under the run’s name, state and time', () => {
    const lines = statusLines(statusOf(running, { ...waiting, title: 'Stage 2, 4K' }), now);
    expect(lines[0]).toBe('tiny-1  running  1 min 0 s');
    expect(lines[1]).toMatch(/^ {2}▶ Stage 1, 1K +step 20\/50/);
    expect(lines[2]).toBe('  · Stage 2, 4K');
  });

  it('shows every problem', () => {
    const failed: RunStatus = { ...statusOf(), state: 'failed', problems: ['a\nb', 'c'] };
    expect(statusLines(failed, now).slice(1)).toEqual(['  ✗ a', '    b', '  ✗ c']);
  });

  it('is one line per change where there is no terminal, and one every few seconds while it advances', () => {
    const lines: string[] = [];
    let clock = now;
    const view = plainView(
      (line) => lines.push(line.trim().split('  ')[0] ?? ''),
      () => clock,
    );
    view.show(undefined);
    view.show(undefined);
    for (const [seconds, stage] of [
      [0, waiting],
      [1, running],
      [2, running],
      [7, running],
      [8, { ...running, step: 21 }],
      [9, { ...running, step: 22 }],
      [20, { ...running, step: 22, secondsLeft: 50 }],
      [22, { ...running, state: 'done', endedAt: '2026-01-01T00:01:22.000Z' }],
    ] as const) {
      clock = now + seconds * 1000;
      view.show(statusOf(stage));
    }
    expect(lines).toEqual([
      'waiting for a worker to answer …',
      '▶ Stage 1, 1K',
      'Stage 1, 1K',
      'Stage 1, 1K',
      'Stage 1, 1K',
      '✓ Stage 1, 1K: done',
    ]);
  });

  it('that Temporal itself has paused is said to be, once', () => {
    const lines: string[] = [];
    const view = plainView((line) => lines.push(line.trim()));
    view.show(undefined);
    for (let times = 0; times < 3; times += 1) view.show(undefined, true);
    view.show(undefined);
    expect(lines).toEqual([
      'waiting for a worker to answer …',
      expect.stringMatching(/paused by Temporal.*Unpause Workflow/),
      'waiting for a worker to answer …',
    ]);
  });
});

describe('what of a stage is saved, in the terminal', () => {
  const saved: StageStatus = { ...running, checkpoint: { step: 12, at: '2026-01-01T00:00:18.000Z' } };
  const full =
    'checkpoint of step 16 waits for the store since 2026-01-01 00:00:40 UTC: the store answered 507 ' +
    'InsufficientStorage. What can be done: the store is full: make room or enlarge it';
  const warned: StageStatus = { ...saved, warning: { text: full, at: '2026-01-01T00:00:45.000Z' } };

  it('is the newest checkpoint’s step and age, and how far training is ahead of it', () => {
    const line = 'newest checkpoint: step 12, 42 s ago, 8 steps behind';
    expect(statusLines(statusOf(saved), now)[2]).toBe(`      ${line}`);
    expect(progressLine(statusOf(saved), now)).toMatch(/ {2}step {2}checkpoint: step 12, 42 s ago$/);
    const much = { ...saved, step: 1012 };
    expect(statusLines(statusOf(much), now)[2]).toMatch(/, 1,000 steps behind$/);
  });

  it('is said to be nothing when there is no checkpoint yet, and left out when nobody knows', () => {
    expect(progressLine(statusOf({ ...saved, checkpoint: null }), now)).toMatch(/ {2}no checkpoint yet$/);
    for (const stage of [
      running,
      { ...saved, kind: 'evaluation' as const },
      { ...saved, state: 'done' as const },
    ])
      expect(statusLines(statusOf(stage), now).join('\n')).not.toContain('checkpoint');
  });

  it('is never from the future, whatever the clocks of two machines show', () => {
    const ahead = { ...saved, checkpoint: { step: 20, at: '2026-01-01T00:09:00.000Z' } };
    expect(progressLine(statusOf(ahead), now)).toMatch(/checkpoint: step 20, just now$/);
    const undated = { ...saved, checkpoint: { step: 12, at: null } };
    expect(progressLine(statusOf(undated), now)).toMatch(/checkpoint: step 12$/);
  });

  it('comes with what stands in the way, in lines that are not too long', () => {
    const lines = statusLines(statusOf(warned), now);
    expect(lines.slice(3)).toEqual([
      '  ! Stage 1, 1K: checkpoint of step 16 waits for the store since 2026-01-01 00:00:40 UTC: the store',
      '    answered 507 InsufficientStorage. What can be done: the store is full: make room or enlarge it',
    ]);
    expect(
      Math.max(
        ...statusLines(statusOf(warned), now, 60)
          .slice(3)
          .map(({ length }) => length),
      ),
    ).toBeLessThan(61);
    expect(statusLines(statusOf({ ...warned, state: 'done' }), now).join('\n')).not.toContain('!');
  });

  it('is told once where there is no terminal', () => {
    const lines: string[] = [];
    const view = plainView(
      (line) => lines.push(line),
      () => now,
    );
    for (const stage of [saved, warned, warned, saved, warned]) view.show(statusOf(stage));
    expect(lines.filter((line) => line.startsWith('  ! '))).toEqual([
      `  ! Stage 1, 1K: ${full}`,
      `  ! Stage 1, 1K: ${full}`,
    ]);
  });
});

describe('an activity that is to be tried again', () => {
  const failed = {
    activityType: { name: 'prepareRun' },
    attempt: 4,
    lastFailure: { message: 's3://b/x: the store answered 503 SlowDown' },
    nextAttemptScheduleTime: {},
  };
  const beating = (phase: string) => ({
    heartbeatDetails: { payloads: [defaultPayloadConverter.toPayload({ ...progress, phase })] },
  });

  it('says how often it has failed, and why', () => {
    const { failing } = pendingWork([failed]);
    expect(failing?.text).toBe(
      'prepareRun failed 3 times, and is tried again: s3://b/x: the store answered 503 SlowDown',
    );
    expect(pendingWork([{ ...failed, attempt: 2 }]).failing?.text).toMatch(/failed once/);
  });

  it('says nothing any more once it runs, unless that has not heard of its job yet', () => {
    const again = { ...failed, nextAttemptScheduleTime: null };
    expect(pendingWork([again]).failing).toBeNull();
    expect(pendingWork([{ ...again, ...beating('step') }])).toMatchObject({ progress, failing: null });
    expect(pendingWork([{ ...again, ...beating('queued') }]).failing).not.toBeNull();
    expect(pendingWork([beating('queued')]).failing).toBeNull();
    const lastFailure = { message: 'left to another', applicationFailureInfo: { nextRetryDelay: {} } };
    expect(pendingWork([{ ...again, ...beating('queued'), lastFailure }]).failing).toBeNull();
    expect(pendingWork([])).toEqual({ progress: undefined, failing: null });
  });
});

const progress = {
  epoch: 1,
  phase: 'step',
  step: 21,
  steps: 50,
  tokens: 344_064,
  loss: 3.2,
  learningRate: 1e-3,
  tokensPerSecond: 7000,
  secondsLeft: 60,
  commit: null,
};

describe('progress from a running attempt', () => {
  it('is shown when it is newer than what the workflow knows', () => {
    expect(withProgress(running, progress)).toMatchObject({ step: 21, loss: 3.2 });
  });

  it('of a curation is its phase', () => {
    const curation = { ...running, kind: 'curation' as const, note: '' };
    expect(withProgress(curation, { phase: 'queued' })).toEqual({ ...curation, note: 'queued' });
  });

  it('brings what is saved and what stands in the way, and takes back what no longer does', () => {
    const warned = { ...running, warning: { text: 'full', at: '2026-01-01T00:00:45.000Z' } };
    const [commitStep, commitAt] = [16, '2026-01-01T00:00:50.000Z'];
    const committed = { ...progress, commit: '00000016-0001-0a1b2c3d', commitStep, commitAt };
    expect(withProgress(warned, committed)).toMatchObject({
      checkpoint: { step: 16, at: commitAt },
      warning: null,
    });
    expect(withProgress(running, { ...committed, warning: warned.warning })).toMatchObject({
      warning: warned.warning,
    });
  });

  it('is passed by when it is older, or of a superseded attempt', () => {
    expect(withProgress(running, { ...progress, step: 19 })).toEqual(running);
    expect(withProgress({ ...running, attempts: 2 }, progress)).toMatchObject({ attempts: 2, step: 20 });
  });
});

describe('links into the Temporal UI', () => {
  const config = loadConfig({ LONGHAUL_TEMPORAL_UI: 'http://127.0.0.1:8233/' });

  it('open a run, and the start form filled in', () => {
    expect(workflowLink(config, 'tiny-1/04-stage-1', 'id')).toBe(
      'http://127.0.0.1:8233/namespaces/default/workflows/tiny-1%2F04-stage-1/id',
    );
    expect(startFormLink(config, 'tiny-2')).toBe(
      'http://127.0.0.1:8233/namespaces/default/workflows/start-workflow' +
        '?workflowType=recipe&taskQueue=longhaul&workflowId=tiny-2',
    );
  });

  it('use run names that tell what runs since when', () => {
    expect(newRunName('tiny', new Date('2026-11-24T05:06:07.890Z'))).toBe('tiny-20261124-050607');
  });

  it('name a run to come as none is named that begins in the same second', () => {
    const name = nameForLater('tiny', new Date('2026-11-24T05:06:07.890Z'));
    expect(name).toMatch(/^tiny-20261124-050607-[0-9a-f]{4}$/);
  });
});

describe('the configuration', () => {
  it('has a default for everything', () => {
    const config = loadConfig({}, '/repo');
    expect(config.s3.rootUrl).toBe('s3://longhaul/dev');
    expect(config.trainerPython).toBe('/repo/.longhaul/venv/bin/python');
  });

  it('names every problem at once', () => {
    const environment = {
      LONGHAUL_S3_ENDPOINT: 'nonsense',
      LONGHAUL_TEMPORAL_ADDRESS: 'host',
      LONGHAUL_BACKEND: 'x',
    };
    expect(() => loadConfig(environment)).toThrow(
      /LONGHAUL_TEMPORAL_ADDRESS: expected host:port[^]*LONGHAUL_S3_ENDPOINT: expected an http\(s\) URL[^]*LONGHAUL_BACKEND/,
    );
  });

  it('takes an empty variable as unset', () => {
    expect(loadConfig({ LONGHAUL_S3_BUCKET: '' }).s3.bucket).toBe('longhaul');
  });
});
