import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { onFreePorts } from '../../../infra/dev/stack/free-ports.js';
import { freePort, listeningPorts } from '../../../infra/dev/stack/ports.js';
import { PortTakenError } from '../../../infra/dev/stack/server-process.js';

let server: Server;
let port: number;
beforeEach(async () => {
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

describe('a port that a server is told', () => {
  it('is one of the wanted ones that is free', async () => {
    expect(await freePort([port])).not.toBe(port);
    const free = await freePort([]);
    expect(await freePort([port, free])).toBe(free);
  });

  it('is another one each time that it is taken before it is bound', async () => {
    const told: number[] = [];
    const started = await onFreePorts(new Set([port]), async (choose) => {
      told.push(await choose([port]));
      if (told.length < 4) throw new PortTakenError('taken');
      return 'started';
    });
    expect(started).toBe('started');
    expect(new Set(told).size).toBe(4);
    expect(told).not.toContain(port);
  });

  it('is not looked for again when the server ends for another reason, or never finds one', async () => {
    let tries = 0;
    const failing = (error: Error) =>
      onFreePorts(new Set(), async (choose) => {
        tries += 1;
        await choose([]);
        throw error;
      });
    await expect(failing(new Error('no such folder'))).rejects.toThrow('no such folder');
    expect(tries).toBe(1);
    await expect(failing(new PortTakenError('taken'))).rejects.toThrow('taken');
  });

  it('is refused in one sentence where the address is not this machine’s, without trying for ever', async () => {
    // An address for documentation, which no interface has.
    await expect(freePort([], new Set(), '192.0.2.1')).rejects.toThrow(
      'no port of 192.0.2.1 can be bound (EADDRNOTAVAIL): is the loopback interface up?',
    );
  });
});

describe('ports that a process listens on', () => {
  it('are its own, as long as it listens', async () => {
    expect(await listeningPorts(process.pid)).toContain(port);
    expect(await listeningPorts(process.ppid)).not.toContain(port);
    await new Promise((resolve) => server.close(resolve));
    expect(await listeningPorts(process.pid)).not.toContain(port);
  });
});
