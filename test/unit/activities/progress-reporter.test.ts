/** What a stage's workflow is told of its running attempt, and how seldom: each signal costs it four events. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ProgressReporter } from '../../../activities/attempt/progress.js';
import { ProgressTracker } from '../../../src/domain/run/progress.js';
import type { AttemptProgress } from '../../../src/domain/run/progress.js';

const AT = '2026-01-01T10:00:00.000Z';
let told: AttemptProgress[];
let beats: AttemptProgress[];
let reporter: ProgressReporter;
let fail: boolean;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'Date'] });
  told = [];
  beats = [];
  fail = false;
  const environment = new MockActivityEnvironment({ heartbeatTimeoutMs: 6000 });
  environment.on('heartbeat', (progress: AttemptProgress) => beats.push(progress));
  reporter = new ProgressReporter(environment.context, new ProgressTracker(1, 500), (progress) => {
    if (fail) return Promise.reject(new Error('no server'));
    told.push(progress);
    return Promise.resolve();
  });
  reporter.startHeartbeat();
});

afterEach(() => {
  reporter.stopHeartbeat();
  vi.useRealTimers();
});

const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);
const warnings = () => told.map(({ warning }) => warning?.text ?? null);
const commits = () => told.map(({ commitStep }) => commitStep ?? null);

function commit(step: number): void {
  reporter.take({ type: 'commit', at: AT, commit: `0000000${String(step)}-0001-0a1b2c3d`, step });
}

function warn(message: string): void {
  reporter.take({ type: 'log', at: AT, level: 'warning', message });
}

describe('commits', () => {
  it('are told at once, but no more often than every ten seconds; then the newest of them', async () => {
    commit(1);
    expect(commits()).toEqual([1]);
    await pass(3);
    commit(2);
    commit(3);
    expect(commits()).toEqual([1]);
    await pass(9);
    expect(commits()).toEqual([1, 3]);
    await pass(600);
    expect(commits()).toEqual([1, 3]);
  });

  it('are told once a minute after a while', async () => {
    for (let second = 0; second < 3600; second += 5) {
      commit(second % 10);
      await pass(5);
    }
    expect(told.length).toBeGreaterThan(60);
    expect(told.length).toBeLessThanOrEqual(12 + 60);
  });

  it('that could not be told are told later', async () => {
    fail = true;
    commit(1);
    await pass(5);
    fail = false;
    await pass(10);
    expect(commits()).toEqual([1]);
  });
});

describe('a warning', () => {
  it('rides in the heartbeats and is told with the next, once, however often it is repeated', async () => {
    for (let minute = 0; minute < 30; minute += 1) {
      warn('the store is full');
      await pass(60);
    }
    expect(beats.at(-1)?.warning?.text).toBe('the store is full');
    expect(warnings()).toEqual(['the store is full']);
  });

  it('that a commit has taken back is told to be over', async () => {
    warn('the store is full');
    await pass(3);
    commit(1);
    await pass(60);
    expect(warnings()).toEqual(['the store is full', null]);
  });

  it('that is over before the next heartbeat, as of events that came late, is not told', async () => {
    warn('the store is full');
    commit(1);
    await pass(60);
    expect(warnings()).toEqual([null]);
  });

  it('of many that differ is told as seldom as commits are', async () => {
    for (let second = 0; second < 3600; second += 1) {
      warn(`trouble ${String(second)}`);
      await pass(1);
    }
    expect(told.length).toBeLessThanOrEqual(12 + 60);
  });

  it('of the watcher itself is told, and taken back', async () => {
    reporter.warn('the worker waits for the store');
    await pass(30);
    reporter.warn(null);
    await pass(30);
    expect(warnings()).toEqual(['the worker waits for the store', null]);
  });

  it('does not outlive its attempt, which says nothing more where there was none', async () => {
    await reporter.end();
    expect(told).toEqual([]);
    warn('the store is full');
    await pass(3);
    await reporter.end();
    expect(warnings()).toEqual(['the store is full', null]);
  });
});
