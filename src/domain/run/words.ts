/** How the states of runs and stages are shown, alike in the terminal, in the Temporal UI and in an audit. */
import type { StageResult } from '../ledger/records.js';
import type { RunState, StageKind, StageState } from './status.js';

/** A mark per state, one column wide. */
export const STATE_MARKS: Readonly<Record<StageState | RunState | StageResult, string>> = {
  waiting: '·',
  running: '▶',
  parked: '‖',
  paused: '‖',
  done: '✓',
  adopted: '✓',
  completed: '✓',
  skipped: '–',
  cancelled: '✗',
  failed: '✗',
};

/** What the progress of a stage is counted in. */
export function progressUnit(kind: StageKind): 'step' | 'sample' {
  return kind === 'evaluation' ? 'sample' : 'step';
}
