/** An HTTP proxy in front of a server under test that loses, cuts and makes up answers. */
import { createServer, request as forward } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What becomes of a request.
 * - `pass`: forwarded, answered
 * - `lose-answer`: forwarded, and it takes effect, but the connection breaks before the answer
 * - `reset`: the connection breaks before the request gets through
 * - `cut-answer`: half of the answer's body comes
 * - `stall-answer`: half of the answer's body comes, then nothing until `stop`
 * - `corrupt-answer`: the answer's first byte is another
 * - `hang`: not forwarded, and nothing comes back until `dropHeld`, as in a partition
 * - `slow`: passed, a second late
 * - a number: not forwarded, answered with that status, as a store in trouble does
 * - a status and a body: not forwarded, answered with them
 */
export type Fault =
  | 'pass'
  | 'lose-answer'
  | 'reset'
  | 'cut-answer'
  | 'stall-answer'
  | 'corrupt-answer'
  | 'hang'
  | 'slow'
  | number
  | { readonly status: number; readonly body: string };

/** An S3 store's answer: a status with its own word for what is wrong. */
export function storeAnswer(status: number, code: string): Fault {
  return { status, body: `<Error><Code>${code}</Code><Message>made up</Message></Error>` };
}

/** A web server's or proxy's page. `tidy`: it parses as XML. */
export function htmlPage(status: number, tidy: boolean): Fault {
  const body = tidy
    ? `<html><head><title>${String(status)}</title></head><body><h1>Oops</h1></body></html>`
    : `<!DOCTYPE html><html><body><center><h1>${String(status)}</h1></center><hr>nginx</body></html>`;
  return { status, body };
}

/** S3's words for what a store answers by a status alone. */
const WORDS: Readonly<Record<number, string>> = {
  403: 'AccessDenied',
  429: 'TooManyRequests',
  503: 'SlowDown',
};

/** How late an answer under `slow` is, milliseconds. */
const SLOW_MS = 1000;

/** A request as the proxy's rule sees it. */
export interface SeenRequest {
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/** A running proxy. */
export interface FaultyProxy {
  readonly endpoint: string;
  /** Most requests that were under way at once. */
  readonly mostAtOnce: () => number;
  /** Breaks the connections of requests that hang: the partition is over. */
  readonly dropHeld: () => void;
  readonly stop: () => Promise<void>;
}

/** Starts a proxy; `rule` decides about each request. */
export async function startFaultyProxy(
  target: string,
  rule: (request: SeenRequest) => Fault,
): Promise<FaultyProxy> {
  let atOnce = 0;
  let mostAtOnce = 0;
  const held = new Set<Socket>();
  // Idle connections stay: only the rule breaks any, however slow the machine.
  const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
    atOnce += 1;
    mostAtOnce = Math.max(mostAtOnce, atOnce);
    response.once('close', () => (atOnce -= 1));
    const { method = 'GET', url = '/', headers } = request;
    const fault = rule({ method, path: url.split('?')[0] ?? url, headers });
    if (fault === 'hang') {
      held.add(request.socket);
      return;
    }
    handle(target, request, response, fault).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    endpoint: `http://127.0.0.1:${String(address.port)}`,
    mostAtOnce: () => mostAtOnce,
    dropHeld: () => {
      for (const socket of held) socket.destroy();
      held.clear();
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A rule that applies a fault to the first `times` requests that match, and passes the rest. */
export function faultOnce(
  fault: Fault,
  matches: (request: SeenRequest) => boolean,
  times = 1,
): (request: SeenRequest) => Fault {
  let left = times;
  return (request) => {
    if (left === 0 || !matches(request)) return 'pass';
    left -= 1;
    return fault;
  };
}

async function handle(
  target: string,
  request: IncomingMessage,
  response: ServerResponse,
  fault: Exclude<Fault, 'hang'>,
): Promise<void> {
  if (fault === 'reset') {
    request.socket.resetAndDestroy();
    return;
  }
  const body = await buffer(request);
  if (fault === 'slow') await sleep(SLOW_MS);
  if (typeof fault === 'number') {
    answerWith(request, response, fault, `<Error><Code>${WORDS[fault] ?? 'InternalError'}</Code></Error>`);
    return;
  }
  if (typeof fault === 'object') {
    answerWith(request, response, fault.status, fault.body);
    return;
  }
  const answer = await send(target, request, body);
  if (fault === 'lose-answer') {
    await buffer(answer);
    response.destroy();
    return;
  }
  response.writeHead(answer.statusCode ?? 502, answer.headers);
  if (fault === 'pass' || fault === 'slow') {
    answer.pipe(response);
    return;
  }
  const data = await buffer(answer);
  if (fault === 'corrupt-answer') {
    data.writeUInt8(data.readUInt8(0) ^ 1, 0);
    response.end(data);
    return;
  }
  response.write(data.subarray(0, Math.floor(data.length / 2)), () => {
    if (fault === 'cut-answer') response.destroy();
  });
}

/** An answer to a HEAD has no body. */
function answerWith(
  { method }: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: string,
): void {
  const type = body.includes('<html') ? 'text/html' : 'application/xml';
  response.writeHead(status, { 'content-type': type });
  response.end(method === 'HEAD' ? undefined : body);
}

/** The request goes on as it is, `Host` included, which its signature covers. */
function send(target: string, request: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { method, headers, url = '/' } = request;
    const { hostname, port } = new URL(target);
    const outgoing = forward({ hostname, port, path: url, method, headers, agent: false }, resolve);
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}
