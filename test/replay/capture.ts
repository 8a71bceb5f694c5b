/**
 * Saves the histories of a finished run and its children, to be replayed by every later version of the workflow code:
 *
 *     npx tsx test/replay/capture.ts <run> <name of the shape, as in 0.1-tiny>
 */
import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config.js';

const [run, shape] = process.argv.slice(2);
if (run === undefined || shape === undefined) throw new Error('usage: capture.ts <run> <shape>');

const config = loadConfig();
/** How many histories of a workflow id have been saved: a stage that was paused or repaired has several. */
const saved = new Map<string, number>();
const connection = await Connection.connect({ address: config.temporal.address });
const client = new Client({ connection, namespace: config.temporal.namespace });
for await (const { workflowId, runId, type } of client.workflow.list({
  query: `WorkflowId = "${run}" OR WorkflowId STARTS_WITH "${run}/"`,
})) {
  const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  const nth = (saved.get(workflowId) ?? 0) + 1;
  saved.set(workflowId, nth);
  const step = workflowId === run ? 'recipe' : workflowId.slice(run.length + 1);
  const name = `${shape}.${step}${nth === 1 ? '' : `.${nth}`}.json`;
  const path = fileURLToPath(new URL(`histories/${name}`, import.meta.url));
  await writeFile(
    path,
    `${JSON.stringify({ workflowId, history: JSON.parse(historyToJSON(history)) as unknown })}\n`,
  );
  console.log(`${type}: ${name}, ${history.events?.length ?? 0} events`);
}
await connection.close();
