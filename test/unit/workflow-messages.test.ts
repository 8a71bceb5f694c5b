import { expect, it } from 'vitest';
import { QUERIES, SIGNALS, STAGE_WORKFLOWS, WORKFLOWS } from '../../src/domain/run/messages.js';
import type { WorkflowOf } from '../../src/domain/run/messages.js';
import { OPERATOR_ACTIONS } from '../../src/domain/run/operator-actions.js';
import * as workflows from '../../workflows/index.js';

const namesIn = (contracts: Readonly<Record<string, { readonly name: string }>>) =>
  Object.values(contracts).map(({ name }) => name);

it('Temporal knows everything by the names that are in histories and in what people have written down', () => {
  expect([...namesIn(WORKFLOWS), ...Object.values(STAGE_WORKFLOWS)]).toEqual([
    ...['recipe', 'janitor'],
    ...['curation', 'trainingStage', 'evaluation'],
  ]);
  expect(namesIn(QUERIES)).toEqual(['status', 'plan', 'waiting']);
  expect(namesIn(SIGNALS)).toEqual([
    ...['progress', 'stageProgress', 'queued', 'stageQueued'],
    ...['pauseStage', 'setBudgets'],
  ]);
  expect(Object.keys(OPERATOR_ACTIONS)).toEqual([
    ...['pause', 'resume', 'retryStage', 'skipStage', 'abort', 'approve', 'setBudget'],
  ]);
});

it('every workflow has its contract, and takes and returns what that says', () => {
  // The types are the check: another input or result does not compile.
  const ofContracts: { readonly [Name in keyof typeof WORKFLOWS]: WorkflowOf<(typeof WORKFLOWS)[Name]> } =
    workflows;
  expect(Object.keys(ofContracts).sort()).toEqual(
    [...namesIn(WORKFLOWS), ...Object.values(STAGE_WORKFLOWS)].sort(),
  );
});
