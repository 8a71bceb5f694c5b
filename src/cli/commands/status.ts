/** `longhaul status`: the runs there are, or where one of them is. */
import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import type { Command } from 'commander';
import { WORKFLOWS } from '../../domain/run/messages.js';
import { SEARCH_ATTRIBUTES } from '../../domain/run/search-attributes.js';
import { durationText } from '../../domain/run/status-markdown.js';
import { textTable } from '../../domain/lib/text-table.js';
import { printable } from '../../domain/lib/text.js';
import { withClient } from '../client.js';
import { cliConfig } from '../environment.js';
import { statusLines } from '../run-text.js';
import { colored } from '../run-view.js';
import { RunWatcher } from '../run-watcher.js';
import { whyUnanswered } from '../unanswered.js';
import { UserError } from '../user-error.js';

const LISTED = 20;
const STATE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.state.name, 'KEYWORD');

/** Adds the command. */
export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('Print where a run is; without a name, the newest runs')
    .argument('[run]', 'name of the run')
    .option('--json', 'print the status of a run as JSON')
    .action(async (run: string | undefined, options: { json?: true }) => {
      const config = await cliConfig();
      await withClient(config, (client) =>
        run === undefined ? listRuns(client) : printStatus(client, run, options.json === true),
      );
    });
}

async function printStatus(client: Client, run: string, asJson: boolean): Promise<void> {
  const status = await new RunWatcher(client, run).read();
  if (status === undefined)
    throw new UserError(`Nobody answers for ${run}. ${await whyUnanswered(client, run)}`);
  if (asJson) console.log(JSON.stringify(status, null, 2));
  else for (const line of statusLines(status, Date.now())) console.log(colored(line));
}

async function listRuns(client: Client): Promise<void> {
  const rows: string[][] = [];
  for await (const run of client.workflow.list({
    query: `WorkflowType = '${WORKFLOWS.recipe.name}'`,
    pageSize: LISTED,
  })) {
    const seconds = ((run.closeTime ?? new Date()).getTime() - run.startTime.getTime()) / 1000;
    rows.push([run.workflowId, stateOf(run), instantText(run.startTime), durationText(seconds)]);
    if (rows.length === LISTED) break;
  }
  const head = ['run', 'state', 'started, UTC', 'time'];
  console.log(
    rows.length === 0 ? 'There are no runs yet.' : printable(textTable([head, ...rows], ['left']).join('\n')),
  );
}

/** An open workflow may be parked or paused, and a failed one aborted, which only the run's own state tells. */
function stateOf({ status, typedSearchAttributes }: WorkflowExecutionInfo): string {
  const own = typedSearchAttributes.get(STATE);
  const saysMore = status.name === 'RUNNING' || (status.name === 'FAILED' && own === 'cancelled');
  return saysMore && own !== undefined ? own : status.name.toLowerCase();
}

/** YYYY-MM-DD HH:MM:SS, UTC. */
function instantText(instant: Date): string {
  return instant.toISOString().slice(0, 19).replace('T', ' ');
}
