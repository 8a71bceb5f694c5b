/** The messages of `src/domain/run/messages.ts` as handlers and the senders among workflows know them. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { QueryDefinition, SignalDefinition, UpdateDefinition } from '@temporalio/common';
import { QUERIES, SIGNALS } from '../src/domain/run/messages.js';
import type { QueryContract, SignalContract } from '../src/domain/run/messages.js';
import type { OperatorAction, OperatorInput } from '../src/domain/run/operator-actions.js';

/** A query with its type. */
export function queryOf<Answer>({ name }: QueryContract<Answer>): QueryDefinition<Answer> {
  return defineQuery<Answer>(name);
}

/** A signal of one payload with its type. */
export function signalOf<Payload>({ name }: SignalContract<Payload>): SignalDefinition<[Payload]> {
  return defineSignal<[Payload]>(name);
}

/** An operator action as an update of the run. It answers with one sentence that says what was done. */
export function updateOf<A extends OperatorAction>(action: A): UpdateDefinition<string, [OperatorInput<A>]> {
  return defineUpdate<string, [OperatorInput<A>]>(action);
}

export const statusQuery = queryOf(QUERIES.status);
export const planQuery = queryOf(QUERIES.plan);
export const waitingQuery = queryOf(QUERIES.waiting);

export const progressSignal = signalOf(SIGNALS.progress);
export const stageProgressSignal = signalOf(SIGNALS.stageProgress);
export const stageQueuedSignal = signalOf(SIGNALS.stageQueued);
export const budgetsSignal = signalOf(SIGNALS.setBudgets);
/** It carries nothing. */
export const pauseSignal = defineSignal(SIGNALS.pauseStage.name);

export const pauseUpdate = updateOf('pause');
export const resumeUpdate = updateOf('resume');
export const retryStageUpdate = updateOf('retryStage');
export const skipStageUpdate = updateOf('skipStage');
export const abortUpdate = updateOf('abort');
export const approveUpdate = updateOf('approve');
export const setBudgetUpdate = updateOf('setBudget');
