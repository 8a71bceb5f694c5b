/** Free ports on the loopback address. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

/** Everything of the development stack listens here and nowhere else. */
export const LOOPBACK = '127.0.0.1';

/** A port that was free a moment ago: one of the wanted ones, in their order, else one that the system picks. */
export async function freePort(
  wanted: readonly number[],
  taken: ReadonlySet<number> = new Set(),
): Promise<number> {
  for (const port of wanted) {
    if (!taken.has(port) && (await tryPort(port)) !== undefined) return port;
  }
  for (;;) {
    const port = await tryPort(0);
    if (port !== undefined && !taken.has(port)) return port;
  }
}

/** Binds a port for an instant; undefined when it is taken. Port 0 lets the system pick. */
async function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => {
      const bound = portOf(server.address());
      server.close(() => resolve(bound));
    });
  });
}

function portOf(address: AddressInfo | string | null): number | undefined {
  return address === null || typeof address === 'string' ? undefined : address.port;
}
