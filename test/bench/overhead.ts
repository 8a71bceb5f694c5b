/**
 * Orchestration overhead of a finished run: per stage, the wall time that was not inside a job.
 *
 *     npx tsx test/bench/overhead.ts RUN        (with the environment of the stack the run was made on)
 *
 * Method: a stage takes from the start to the close of its child workflow, by the server's clock; its jobs from the shim's
 * start of the process to its end, by the files the local backend keeps. Both clocks are this machine's. Prints each stage
 * and the median; also events and bytes of all histories, which have limits of 500 and 1 MB for the tiny preset.
 */
import { Client, Connection } from '@temporalio/client';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LocalBackend } from '../../src/backends/local/local.js';
import { loadConfig } from '../../src/config.js';
import { STAGE_WORKFLOWS } from '../../src/domain/run/messages.js';

const run = process.argv[2];
if (run === undefined) throw new Error('usage: overhead.ts RUN');

const config = loadConfig();
const jobs = join(config.dataDir, 'jobs');
const connection = await Connection.connect({ address: config.temporal.address });
const client = new Client({ connection, namespace: config.temporal.namespace });

async function instant(job: string, file: string, field: 'startedAt' | 'endedAt'): Promise<number> {
  const content: unknown = JSON.parse(await readFile(join(jobs, job, file), 'utf8'));
  return Date.parse(z.looseObject({ [field]: z.string() }).parse(content)[field] ?? '');
}

/** Seconds inside the jobs of a stage. */
async function jobSeconds(folder: string): Promise<number> {
  const names = (await new LocalBackend(jobs).list()).filter(
    (name) => name.includes(`.${folder}.`) && name.startsWith(run ?? ''),
  );
  const spans = names.map(
    async (name) =>
      (await instant(name, 'ended.json', 'endedAt')) - (await instant(name, 'started.json', 'startedAt')),
  );
  return (await Promise.all(spans)).reduce((sum, milliseconds) => sum + milliseconds / 1000, 0);
}

/** Workflows whose time is that of a job, but for what is measured here. */
const WITH_JOBS: readonly string[] = [STAGE_WORKFLOWS.training, STAGE_WORKFLOWS.evaluation];

const overheads: number[] = [];
let events = 0;
let bytes = 0;
for await (const {
  workflowId,
  type,
  startTime,
  closeTime,
  historyLength,
  historySize,
} of client.workflow.list({
  query: `WorkflowId = "${run}" OR WorkflowId STARTS_WITH "${run}/"`,
})) {
  events += historyLength;
  bytes += historySize ?? 0;
  if (closeTime === undefined || !WITH_JOBS.includes(type)) continue;
  const wall = (closeTime.getTime() - startTime.getTime()) / 1000;
  const inside = await jobSeconds(workflowId.slice(run.length + 1));
  overheads.push(wall - inside);
  console.log(
    `${workflowId.padEnd(48)} ${wall.toFixed(2)} s, in jobs ${inside.toFixed(2)} s, overhead ${(wall - inside).toFixed(2)} s`,
  );
}
overheads.sort((a, b) => a - b);
console.log(
  `median overhead ${(overheads[Math.floor(overheads.length / 2)] ?? NaN).toFixed(2)} s; histories: ${events} events, ${bytes} bytes`,
);
await connection.close();
