/** Addresses of pages of the Temporal UI. */
import { WORKFLOWS } from '../domain/run/messages.js';
import { TASK_QUEUE } from '../domain/run/task-queues.js';
import type { Config } from '../config.js';

/** The page of a workflow. */
export function workflowLink({ temporal }: Config, workflowId: string, runId: string): string {
  return `${workflowsPage(temporal)}/${encodeURIComponent(workflowId)}/${runId}`;
}

/** The UI's form for starting a workflow, filled in but for the recipe itself, which it has no parameter for. */
export function startFormLink({ temporal }: Config, workflowId: string): string {
  const query = new URLSearchParams({
    workflowType: WORKFLOWS.recipe.name,
    taskQueue: TASK_QUEUE,
    workflowId,
  });
  return `${workflowsPage(temporal)}/start-workflow?${query.toString()}`;
}

function workflowsPage({ uiUrl, namespace }: Config['temporal']): string {
  return `${uiUrl}/namespaces/${encodeURIComponent(namespace)}/workflows`;
}
