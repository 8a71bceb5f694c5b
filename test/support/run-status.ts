/** Statuses of runs and stages, as far as a test does not care what they say. */
import type { RunStatus, StageStatus } from '../../src/domain/run/status.js';

const STARTED_AT = '2026-01-01T00:00:00.000Z';

/** A training stage that has not begun, but for what is changed. */
export function stageStatus(change: Partial<StageStatus> = {}): StageStatus {
  return {
    folder: '04-stage-1',
    title: 'Stage 1, 1K',
    kind: 'training',
    state: 'waiting',
    step: null,
    steps: null,
    tokens: null,
    loss: null,
    tokensPerSecond: null,
    secondsLeft: null,
    attempts: 0,
    startedAt: null,
    endedAt: null,
    note: '',
    ...change,
  };
}

/** A run that goes on, without stages, but for what is changed. */
export function runStatus(change: Partial<RunStatus> = {}): RunStatus {
  return {
    run: 'r',
    preset: 'tiny',
    state: 'running',
    stages: [],
    runUrl: 's3://bucket/dev/runs/r',
    recipeDigest: '',
    startedAt: STARTED_AT,
    endedAt: null,
    reportUrl: null,
    problems: [],
    warnings: [],
    parked: null,
    waitingFor: null,
    ledger: { records: 0, tip: null },
    ...change,
  };
}
