/** The servers of a data folder that run now, whoever started them and whatever became of him. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StackError } from './folder.js';
import { processTable } from './process-table.js';
import type { TableEntry } from './process-table.js';
import { LOOPBACK } from './ports.js';
import { isS3Ready, s3PortOf } from './s3.js';
import { identify, isRunning, stopProcess } from './server-process.js';
import type { ProcessIdentity, StartedServer } from './server-process.js';
import { isTemporalReady, temporalPortsOf } from './temporal.js';

/** A server that runs, and the ports it was told. */
export interface RunningServer<Ports> {
  readonly entry: TableEntry;
  readonly ports: Ports;
}

/** What runs from a folder. Two of a kind only where somebody else has started one of them. */
export interface RunningServers {
  readonly temporal: readonly RunningServer<{ readonly temporal: number; readonly ui: number }>[];
  readonly s3: readonly RunningServer<{ readonly s3: number }>[];
}

/** How long a server that was found may take to answer: it may have been started a moment ago. */
const ADOPT_SECONDS = 30;
const LOOK_MS = 200;
/** How often an adopted server, which is not this process's child, is looked at. */
const WATCH_MS = 1000;

/** Servers whose command lines name the folder. */
export async function runningServers(dataDir: string): Promise<RunningServers> {
  const table = await processTable();
  const thatAre = <Ports>(portsOf: (command: string, dataDir: string) => Ports | undefined) =>
    table.flatMap((entry) => {
      const ports = portsOf(entry.command, dataDir);
      return ports === undefined ? [] : [{ entry, ports }];
    });
  return { temporal: thatAre(temporalPortsOf), s3: thatAre(s3PortOf) };
}

/** An adopted server. */
export interface Adopted<Ports> extends StartedServer {
  readonly ports: Ports;
}

/** Adopts the Temporal server that was found, or sees that none is left. */
export const adoptTemporal = (found: RunningServers['temporal']) =>
  adopt('the Temporal server', found, ({ temporal }) => isTemporalReady(`${LOOPBACK}:${String(temporal)}`));

/** Adopts the S3 server that was found, or sees that none is left. */
export const adoptS3 = (found: RunningServers['s3']) =>
  adopt('the S3 server', found, ({ s3 }) => isS3Ready(`http://${LOOPBACK}:${String(s3)}`));

/**
 * The server that was found, if it is one and answers. What does not is stopped, so that another can be started in its place.
 *
 * @throws {StackError} when it is not this user's
 */
async function adopt<Ports>(
  name: string,
  found: readonly RunningServer<Ports>[],
  answers: (ports: Ports) => Promise<boolean>,
): Promise<Adopted<Ports> | undefined> {
  const self = process.getuid?.();
  const foreign = found.find(({ entry }) => self !== 0 && entry.uid !== self);
  if (foreign !== undefined) {
    const { pid, uid } = foreign.entry;
    throw new StackError(
      `Process ${String(pid)} of user ${String(uid)} is ${name} of this folder. End it, or use a folder of your own.`,
    );
  }
  const identities = await Promise.all(found.map(({ entry }) => identify(entry.pid)));
  const [only] = found;
  const [identity] = identities;
  if (found.length === 1 && only !== undefined && identity !== undefined) {
    if (await answersInTime(identity, () => answers(only.ports))) {
      return { identity, ports: only.ports, ended: endOf(name, identity) };
    }
  }
  await Promise.all(identities.flatMap((one) => (one === undefined ? [] : [stopProcess(one)])));
  return undefined;
}

async function answersInTime(identity: ProcessIdentity, answers: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ADOPT_SECONDS * 1000;
  while (performance.now() < deadline && (await isRunning(identity))) {
    if (await answers()) return true;
    await sleep(LOOK_MS);
  }
  return false;
}

/** Resolves when a process that is not this one's child has ended. */
export async function endOf(name: string, identity: ProcessIdentity): Promise<string> {
  while (await isRunning(identity)) await sleep(WATCH_MS);
  return `${name}, process ${String(identity.pid)}, has ended`;
}
