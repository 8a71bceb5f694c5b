import { describe, expect, it } from 'vitest';
import { DEFAULT_ATTEMPTS } from '../../../src/domain/recipe/presets/defaults.js';
import { NEW_JOB, afterAttempt, jobStateSchema, nextFor } from '../../../workflows/job-state.js';
import type { TakenEnd } from '../../../workflows/job-state.js';

const SETTINGS = { trains: true, skipSteps: 1 };
const ALLOWED = { gpus: 8, withoutCommit: { attempts: 1000, gpuHours: 2 } };

/** A preemption without a commit after five hours, of which the job ran for so many seconds. */
const preempted = (heldSeconds?: number): TakenEnd => ({
  epoch: 1,
  class: 'preempted',
  signature: 'sigterm',
  progressed: false,
  step: 0,
  node: null,
  message: '',
  wallSeconds: 5 * 3600,
  ...(heldSeconds === undefined ? {} : { heldSeconds }),
});

describe('the allowance of GPU hours without a commit', () => {
  it('is not used up by waiting for a place', () => {
    const state = afterAttempt(NEW_JOB, preempted(60), SETTINGS);
    expect(state.sinceCommit).toEqual({ attempts: 1, wallSeconds: 60 });
    expect(nextFor(state, DEFAULT_ATTEMPTS, ALLOWED).kind).toBe('relaunch');
  });

  it('is used up by what ran', () => {
    const state = afterAttempt(NEW_JOB, preempted(5 * 3600), SETTINGS);
    expect(nextFor(state, DEFAULT_ATTEMPTS, ALLOWED)).toMatchObject({
      kind: 'park',
      why: expect.stringContaining('40 GPU hours') as string,
    });
  });

  it('takes an end of an earlier version, which does not say what it held, as before', () => {
    const state = afterAttempt(NEW_JOB, preempted(), SETTINGS);
    expect(state.sinceCommit.wallSeconds).toBe(5 * 3600);
    expect(jobStateSchema.parse(state)).toEqual(state);
  });
});

it('the time between interruptions is of the job, and not of its wait for a place', () => {
  const state = afterAttempt(NEW_JOB, preempted(60), SETTINGS);
  expect([state.wallSeconds, state.interruptions]).toEqual([60, 1]);
});
