/** `longhaul doctor`: checks everything a run depends on, and says what is wrong. */
import type { Client, Connection } from '@temporalio/client';
import type { Command } from 'commander';
import { execa } from 'execa';
import { missingSearchAttributes, registerSearchAttributes } from '../../../infra/dev/stack/temporal.js';
import { describeEnvironment } from '../../config.js';
import type { Config } from '../../config.js';
import { TASK_QUEUE } from '../../domain/run/task-queues.js';
import { messageOf } from '../../domain/lib/text.js';
import { textTable } from '../../domain/lib/text-table.js';
import { rootLayout } from '../../contracts/layout.js';
import { ObjectStore } from '../../store/object-store.js';
import { probeConditionalWrites } from '../../store/race-probe.js';
import { withClient } from '../client.js';
import { cliConfig } from '../environment.js';
import { colored } from '../run-view.js';

/** What one check found. */
type Finding =
  { readonly ok: true; readonly found: string } | { readonly ok: false; readonly problem: string };

interface Check {
  readonly name: string;
  readonly run: () => Promise<Finding>;
}

/** Adds the command. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('Check versions, servers, the store’s conditional writes and the trainer’s environment')
    .option('--register', 'register missing search attributes')
    .action(async (options: { register?: true }) => {
      const config = await cliConfig();
      process.exitCode = (await runChecks(checksOf(config, options.register === true))) ? 0 : 1;
      console.log(`\nEnvironment`);
      for (const line of environmentTable()) console.log(line);
    });
}

async function runChecks(checks: readonly Check[]): Promise<boolean> {
  let allOk = true;
  for (const { name, run } of checks) {
    const finding = await run().catch((error: unknown): Finding => ({
      ok: false,
      problem: messageOf(error),
    }));
    allOk &&= finding.ok;
    console.log(colored(finding.ok ? `✓ ${name}: ${finding.found}` : `✗ ${name}: ${finding.problem}`));
  }
  return allOk;
}

function checksOf(config: Config, register: boolean): Check[] {
  const withTemporal = (work: (client: Client, connection: Connection) => Promise<Finding>) => () =>
    withClient(config, work);
  return [
    { name: 'Node', run: () => Promise.resolve({ ok: true, found: process.versions.node }) },
    { name: 'Trainer', run: () => checkTrainer(config) },
    { name: 'Temporal', run: withTemporal((client) => checkTemporal(config, client)) },
    {
      name: 'Search attributes',
      run: withTemporal((_client, connection) => checkAttributes(config, connection, register)),
    },
    { name: 'Workers', run: withTemporal((client) => checkWorkers(config, client)) },
    { name: 'Store', run: () => checkStore(config) },
  ];
}

async function checkTrainer({ trainerPython }: Config): Promise<Finding> {
  const script =
    'import platform, importlib.metadata as m; ' +
    'print("Python", platform.python_version(), *[f"{n} {m.version(n)}" for n in ("torch", "transformers")])';
  const { stdout } = await execa(trainerPython, ['-c', script], { timeout: 30_000 });
  return { ok: true, found: stdout };
}

async function checkTemporal({ temporal }: Config, client: Client): Promise<Finding> {
  const { serverVersion } = await client.workflowService.getSystemInfo({});
  await client.workflowService.describeNamespace({ namespace: temporal.namespace });
  return {
    ok: true,
    found: `server ${serverVersion} at ${temporal.address}, namespace ${temporal.namespace}`,
  };
}

async function checkAttributes(
  { temporal }: Config,
  connection: Connection,
  register: boolean,
): Promise<Finding> {
  if (register) await registerSearchAttributes(connection, temporal.namespace);
  const missing = await missingSearchAttributes(connection, temporal.namespace);
  if (missing.length === 0) return { ok: true, found: 'registered' };
  const names = missing.map(({ name }) => name).join(', ');
  return { ok: false, problem: `missing: ${names}. Register them with \`longhaul doctor --register\`.` };
}

async function checkWorkers({ temporal }: Config, client: Client): Promise<Finding> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: temporal.namespace,
    taskQueue: { name: TASK_QUEUE },
  });
  if (pollers.length === 0) {
    return { ok: false, problem: `none polls ${TASK_QUEUE}. Start one with \`longhaul worker\`.` };
  }
  return { ok: true, found: pollers.map(({ identity }) => identity ?? '?').join(', ') };
}

async function checkStore(config: Config): Promise<Finding> {
  const store = ObjectStore.connect(config.s3);
  try {
    await probeConditionalWrites(store, rootLayout(config.s3.rootUrl).probes);
    return { ok: true, found: `${config.s3.rootUrl}, conditional writes hold` };
  } finally {
    store.close();
  }
}

function environmentTable(): string[] {
  const rows = describeEnvironment().map(({ name, meaning, fallback }) => {
    const value = process.env[name] ?? '';
    return [name, value === '' ? `${fallback} (default)` : value, meaning];
  });
  return textTable(rows, ['left'], '  ');
}
