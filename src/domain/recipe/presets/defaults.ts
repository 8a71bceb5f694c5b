/** What presets share. */
import { FAILURES, FAILURE_CLASSES } from '../../attempt/failure-class.js';
import type { FailureClass } from '../../attempt/failure-class.js';
import { recordOf } from '../../lib/record.js';
import type { RecipeSource } from '../schema.js';

/** Relaunches per failure class before a stage parks. */
export const DEFAULT_ATTEMPTS: Readonly<Record<FailureClass, number>> = recordOf(
  FAILURE_CLASSES,
  (one) => FAILURES[one].relaunches,
);

/** How jobs are run and rerun, where a preset says nothing else. */
export const DEFAULT_EXECUTION = {
  backend: 'local',
  attempts: DEFAULT_ATTEMPTS,
  withoutCommit: { attempts: 1000, gpuHours: 200 },
  onFailure: 'park',
  approvals: [],
  numerics: { spikeFactor: 2, spikeWindowSteps: 20, skipSteps: 1 },
} satisfies Partial<RecipeSource['execution']>;

/** Table 9: AdamW, weight decay 0.1, β1 0.9, β2 0.95. Clipping and epsilon are the published scripts'. */
export const ADAMW = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 } as const;

/** Table 9's ShortMix at its share of the whole: 37 % = 27 / 27 / 11 / 11 / 8 / 8 / 8 % of it, in whole percents of all rows. */
export const SHORT_MIX = [
  { domain: 'fineweb-edu', lengthTokens: null, share: 0.1 },
  { domain: 'fineweb', lengthTokens: null, share: 0.1 },
  { domain: 'tuluv2', lengthTokens: null, share: 0.04 },
  { domain: 'stackexchange', lengthTokens: null, share: 0.04 },
  { domain: 'wikipedia', lengthTokens: null, share: 0.03 },
  { domain: 'openwebmath', lengthTokens: null, share: 0.03 },
  { domain: 'arxiv', lengthTokens: null, share: 0.03 },
];

/** Stage 1 of Table 9: everything long at the row's length. */
export function stageOneMix(rowTokens: number) {
  return [
    { domain: 'code', lengthTokens: rowTokens, share: 0.3 },
    { domain: 'books', lengthTokens: rowTokens, share: 0.3 },
    { domain: 'textbooks', lengthTokens: rowTokens, share: 0.03 },
    ...SHORT_MIX,
  ];
}

/** Stage 2 of Table 9: code half at the row's length and half at stage 1's, books 1 : 5 (17 % and 83 %), textbooks at the row's. */
export function stageTwoMix(rowTokens: number, stageOneTokens: number) {
  return [
    { domain: 'code', lengthTokens: rowTokens, share: 0.15 },
    { domain: 'code', lengthTokens: stageOneTokens, share: 0.15 },
    { domain: 'books', lengthTokens: rowTokens, share: 0.05 },
    { domain: 'books', lengthTokens: stageOneTokens, share: 0.25 },
    { domain: 'textbooks', lengthTokens: rowTokens, share: 0.03 },
    ...SHORT_MIX,
  ];
}
