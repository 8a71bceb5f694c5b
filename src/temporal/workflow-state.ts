/** What the Temporal server knows of a workflow. */
import { WorkflowNotFoundError } from '@temporalio/client';
import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import { optionalTsToDate } from '@temporalio/common/lib/time.js';

/** A workflow's newest run, or the run that is named; null: there is none, or its history has expired. */
export async function describeWorkflow(
  { workflow }: Pick<Client, 'workflow'>,
  workflowId: string,
  runId?: string,
): Promise<WorkflowExecutionDescription | null> {
  try {
    return await workflow.getHandle(workflowId, runId).describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** Whether a run is not over. One that was paused from the Temporal UI goes on when it is unpaused. */
export function isOpen({ status }: Pick<WorkflowExecutionDescription, 'status'>): boolean {
  return status.name === 'RUNNING' || status.name === 'PAUSED';
}

/** Temporal's own pause of a workflow, which its code knows nothing of. */
export interface TemporalPause {
  /** Who asked for it, as the Temporal UI or a command line names him; empty: nobody said. */
  readonly by: string;
  readonly reason: string;
  /** null: the server does not say. */
  readonly since: Date | null;
}

/** The pause under which Temporal holds a workflow; null: it holds it under none. */
export function pauseOf({
  status,
  raw,
}: Pick<WorkflowExecutionDescription, 'status' | 'raw'>): TemporalPause | null {
  if (status.name !== 'PAUSED') return null;
  const info = raw.workflowExtendedInfo?.pauseInfo;
  return {
    by: info?.identity ?? '',
    reason: info?.reason ?? '',
    since: optionalTsToDate(info?.pausedTime) ?? null,
  };
}
