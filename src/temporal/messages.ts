/** Speaks to runs and their stages by the contract of `src/domain/run/messages.ts`: what goes in and what comes out is typed. */
import type { WorkflowHandle } from '@temporalio/client';
import type { QueryContract, SignalContract, WorkflowContract } from '../domain/run/messages.js';
import type { OperatorAction, OperatorInput } from '../domain/run/operator-actions.js';

/** What a workflow answers. @throws ZodError when it answers something else: its worker is of another version. */
export async function ask<Answer>(
  handle: Pick<WorkflowHandle, 'query'>,
  { name, answer }: QueryContract<Answer>,
): Promise<Answer> {
  return answer.parse(await handle.query<unknown>(name));
}

/** Sends a signal. */
export async function tell<Payload>(
  handle: Pick<WorkflowHandle, 'signal'>,
  { name }: SignalContract<Payload>,
  payload: Payload,
): Promise<void> {
  await handle.signal<[Payload]>(name, payload);
}

/** Has a run do what an operator wants, and returns its answer, one sentence. */
export async function order<A extends OperatorAction>(
  handle: Pick<WorkflowHandle, 'executeUpdate'>,
  action: A,
  input: OperatorInput<A>,
): Promise<string> {
  return handle.executeUpdate<string, [OperatorInput<A>]>(action, { args: [input] });
}

/** What a workflow comes to, once it is over. @throws WorkflowFailedError; ZodError when it is of another version. */
export async function resultOf<Result>(
  handle: Pick<WorkflowHandle, 'result'>,
  { result }: Pick<WorkflowContract<unknown, Result>, 'result'>,
): Promise<Result> {
  const answer: unknown = await handle.result();
  return result.parse(answer);
}
