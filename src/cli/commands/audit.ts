/** `longhaul audit`: what happened to a run, and whether everything it left is what it says. Works without a Temporal server. */
import { readFile, writeFile } from 'node:fs/promises';
import { createLogUpdate } from 'log-update';
import type { Command } from 'commander';
import { auditRun, NoSuchRunError } from '../../audit/audit.js';
import type { AuditInput, RunIdentity } from '../../audit/audit.js';
import type { Audit } from '../../audit/audit-data.js';
import { SignatureError, readSignature, signAudit } from '../../audit/signature.js';
import type { SignedTip } from '../../audit/signature.js';
import { readHistory } from '../../audit/temporal.js';
import { auditLines } from '../../audit/text.js';
import type { Config } from '../../config.js';
import { isStoreError } from '../../store/errors.js';
import { rootLayout } from '../../contracts/layout.js';
import { ObjectStore } from '../../store/object-store.js';
import { withClient } from '../client.js';
import { cliConfig } from '../environment.js';
import { colored } from '../run-view.js';
import { UserError } from '../user-error.js';
import { firstLine, messageOf } from '../../domain/lib/text.js';

interface AuditOptions {
  readonly json?: true;
  readonly quick?: true;
  readonly offline?: true;
  readonly all?: true;
  readonly sign?: string;
  readonly verify?: string;
  readonly signature?: string;
}

const EXIT_CODES = { verified: 0, different: 1, 'not-checked': 3 } as const;
/** Nothing was found out about the run. */
const BROKEN_OFF = 2;
/** Characters per line where the output is no terminal. */
const WIDTH = 120;

/** Adds the command. */
export function addAuditCommand(program: Command): void {
  program
    .command('audit')
    .description(
      'Print what happened to a run, and verify its ledger and everything it made; exit code 1: something differs; 3: nothing differs, but not everything was checked',
    )
    .argument('<run>', 'name of the run, or the s3:// URL of its prefix')
    .option(
      '--quick',
      'compare datasets, checkpoints and models by size and checksum instead of reading them again',
    )
    .option('--offline', 'do not ask the Temporal server')
    .option('--all', 'print every attempt; otherwise a series of attempts that ended alike is one line')
    .option('--json', 'print the audit as JSON')
    .option(
      '--sign <key>',
      'sign the tip of the run’s ledger with this ed25519 private key (a PEM file), if nothing differs',
    )
    .option('--verify <key>', 'check the signature with this ed25519 public key (a PEM file)')
    .option('--signature <file>', 'file of the signature (default: <run>.signature.json)')
    .action(audit);
}

async function audit(run: string, options: AuditOptions): Promise<void> {
  const config = await cliConfig();
  const signatureFile =
    options.signature ?? `${run.replace(/\/+$/, '').split('/').at(-1) ?? ''}.signature.json`;
  const store = ObjectStore.connect(config.s3);
  const progress = progressLine(options.json !== true);
  try {
    const found = await auditRun({
      store,
      runUrl: run.startsWith('s3://') ? run.replace(/\/+$/, '') : rootLayout(config.s3.rootUrl).run(run),
      level: options.quick === true ? 'quick' : 'full',
      signed: options.verify === undefined ? undefined : await signedIn(signatureFile, options.verify),
      history: (identity) => historyOf(config, identity, options.offline === true),
      onObject: progress.show,
    });
    progress.close();
    if (options.json === true) console.log(JSON.stringify(found, null, 2));
    else {
      const width = process.stdout.isTTY ? process.stdout.columns : WIDTH;
      for (const line of auditLines(found, { all: options.all === true, width })) console.log(colored(line));
    }
    process.exitCode = EXIT_CODES[found.verdict];
    if (options.sign !== undefined) await writeSignature(found, options.sign, signatureFile);
  } catch (error) {
    if (error instanceof SignatureError)
      throw new UserError(error.message, process.exitCode === 1 ? 1 : BROKEN_OFF);
    if (error instanceof NoSuchRunError) throw new UserError(error.message, BROKEN_OFF);
    if (isStoreError(error))
      throw new UserError(
        `The audit was broken off, which says nothing about the run. ${error.message}`,
        BROKEN_OFF,
      );
    throw error;
  } finally {
    progress.close();
    store.close();
  }
}

/** @throws SignatureError, UserError */
async function signedIn(file: string, keyFile: string): Promise<SignedTip> {
  return readSignature(await fileAt(file), new TextDecoder().decode(await fileAt(keyFile)));
}

async function writeSignature(audit: Audit, keyFile: string, file: string): Promise<void> {
  await writeFile(file, signAudit(audit, new TextDecoder().decode(await fileAt(keyFile))));
  console.error(`Signed: ${file}`);
}

async function fileAt(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new UserError(`${file} can’t be read: ${firstLine(messageOf(error))}`, BROKEN_OFF);
  }
}

/** What the configured server still knows of the run, in the configured namespace. One that can't be reached is no difference. */
async function historyOf(
  config: Config,
  { run, runIds }: RunIdentity,
  offline: boolean,
): ReturnType<AuditInput['history']> {
  if (offline) return { unavailable: 'not asked: audited from the object store alone' };
  try {
    return await withClient(config, (client) => readHistory(client, run, runIds));
  } catch (error) {
    const why = firstLine(messageOf(error));
    return { unavailable: `the history was not read: ${why}` };
  }
}

/** The object that is being read, on a terminal's standard error. */
function progressLine(wanted: boolean): { readonly show: (url: string) => void; readonly close: () => void } {
  if (!wanted || !process.stderr.isTTY) return { show: () => undefined, close: () => undefined };
  const draw = createLogUpdate(process.stderr);
  return { show: (url) => draw(`reading ${url}`), close: () => draw.clear() };
}
