/** Ports on the loopback address: free ones, and those that a process listens on. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { run } from '../lib/processes.mjs';

/** Everything of the development stack listens here and nowhere else. */
export const LOOPBACK = '127.0.0.1';

/**
 * A port that was free a moment ago: one of the wanted ones, in their order, else one that the system picks.
 *
 * @throws when the address itself can't be bound
 */
export async function freePort(
  wanted: readonly number[],
  taken: ReadonlySet<number> = new Set(),
  host: string = LOOPBACK,
): Promise<number> {
  for (const port of wanted) {
    if (!taken.has(port) && (await tryPort(port, host)) !== undefined) return port;
  }
  for (;;) {
    const port = await tryPort(0, host);
    if (port !== undefined && !taken.has(port)) return port;
  }
}

/** Binds a port for an instant; undefined when that port is not to be had. Port 0 lets the system pick. */
async function tryPort(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => {
      const code = 'code' in error ? String(error.code) : '';
      // Ports below 1024 may be the administrator's only.
      if (port !== 0 && ['EADDRINUSE', 'EACCES'].includes(code)) resolve(undefined);
      else reject(new Error(`no port of ${host} can be bound (${code}): is the loopback interface up?`));
    });
    server.listen({ port, host, exclusive: true }, () => {
      const bound = portOf(server.address());
      server.close(() => resolve(bound));
    });
  });
}

function portOf(address: AddressInfo | string | null): number | undefined {
  return address === null || typeof address === 'string' ? undefined : address.port;
}

/** TCP ports that a process listens on, whatever their address: a port that answers may be another process's. */
export async function listeningPorts(pid: number): Promise<ReadonlySet<number>> {
  return process.platform === 'linux' ? listeningOnLinux(pid) : listeningByLsof(pid);
}

const LISTENING = '0A';

function listeningOnLinux(pid: number): ReadonlySet<number> {
  const sockets = socketsOf(pid);
  const ports = new Set<number>();
  for (const table of ['tcp', 'tcp6']) {
    for (const line of read(`/proc/${String(pid)}/net/${table}`)
      .split('\n')
      .slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state === LISTENING && sockets.has(inode))
        ports.add(Number.parseInt(local.split(':')[1] ?? '', 16));
    }
  }
  return ports;
}

/** Inodes of the sockets that a process holds; none when it is gone. */
function socketsOf(pid: number): ReadonlySet<string> {
  const folder = `/proc/${String(pid)}/fd`;
  try {
    const targets = readdirSync(folder).map((name) => linkTarget(`${folder}/${name}`));
    return new Set(targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
  } catch {
    return new Set();
  }
}

function linkTarget(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    // Closed meanwhile.
    return '';
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

async function listeningByLsof(pid: number): Promise<ReadonlySet<number>> {
  const { output } = await run('lsof', ['-nP', '-a', '-p', String(pid), '-iTCP', '-sTCP:LISTEN', '-Fn']);
  return new Set([...output.matchAll(/^n.*:(\d+)$/gm)].map(([, port]) => Number(port)));
}
