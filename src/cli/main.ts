/** The `longhaul` command line: commands, their options, and what happens to errors. */
import { Command } from 'commander';
import { addAuditCommand } from './commands/audit.js';
import { addDoctorCommand } from './commands/doctor.js';
import { addDrillCommand } from './commands/drill.js';
import { addOperateCommands } from './commands/operate.js';
import { addPlanCommand } from './commands/plan.js';
import { addStartCommand } from './commands/start.js';
import { addStatusCommand } from './commands/status.js';
import { addWatchCommand } from './commands/watch.js';
import { addWorkerCommand } from './commands/worker.js';
import { systemProblem } from '../../infra/dev/lib/files.mjs';
import { ConfigError } from '../config.js';
import { printable } from '../domain/lib/text.js';
import { loopbackWithoutProxy } from '../domain/lib/loopback.js';
import { UserError } from './user-error.js';

/** Exit code of a program whose reader has gone, as shells count SIGPIPE. */
const READER_GONE = 141;

/** Parses the arguments, runs the command and sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  Object.assign(process.env, loopbackWithoutProxy(process.env));
  const program = new Command('longhaul')
    .description('The ProLong recipe for long-context language models as one durable workflow')
    .showHelpAfterError('(longhaul --help tells the commands)');
  for (const add of [
    addPlanCommand,
    addStartCommand,
    addStatusCommand,
    addWatchCommand,
    addAuditCommand,
    addOperateCommands,
    addWorkerCommand,
    addDoctorCommand,
    addDrillCommand,
  ]) {
    add(program);
  }
  process.stdout.on('error', leaveQuietly);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    const sentence =
      error instanceof UserError || error instanceof ConfigError ? error.message : systemProblem(error);
    if (sentence === undefined) throw error;
    console.error(printable(sentence));
    process.exitCode = error instanceof UserError ? error.exitCode : 1;
  }
}

/** In `longhaul audit RUN | head`, whoever reads has seen enough: no error to tell of. */
function leaveQuietly(error: Error): void {
  if ('code' in error && error.code === 'EPIPE') process.exit(READER_GONE);
  throw error;
}
