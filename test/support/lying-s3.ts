/** A small S3 store in memory whose conditional writes do not hold, as some gateways' and caches' do not. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How it lies. `honest`: not at all. `ignores-…`: takes no notice of that header. `checks-then-writes`: looks at the
 * condition, and writes a moment later. `keeps-another`: tells one writer that it won, and keeps what a loser sent.
 * `creates-by-if-match`: takes an `If-Match` for fulfilled where no object is. `sends-writers-back`: holds its conditions, and
 * tells writers that meet to try again (409), as S3 does.
 */
export type Lie =
  | 'honest'
  | 'ignores-if-match'
  | 'ignores-if-none-match'
  | 'checks-then-writes'
  | 'keeps-another'
  | 'creates-by-if-match'
  | 'sends-writers-back';

/** A running store. */
export interface LyingS3 {
  readonly endpoint: string;
  readonly stop: () => Promise<void>;
}

/** Starts a store that lies in this way. */
export async function startLyingS3(lie: Lie): Promise<LyingS3> {
  const objects = new Map<string, Buffer>();
  const sentBack = new Set<string>();
  const server = createServer((request, response) => {
    answer(lie, { objects, sentBack }, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    endpoint: `http://127.0.0.1:${String(address.port)}`,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Contents {
  readonly objects: Map<string, Buffer>;
  /** ETags of what was told once to come again. */
  readonly sentBack: Set<string>;
}

async function answer(
  lie: Lie,
  { objects, sentBack }: Contents,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const key = new URL(request.url ?? '/', 'http://s3').pathname;
  const body = await buffer(request);
  const found = objects.get(key);
  switch (request.method ?? 'GET') {
    case 'PUT':
      if (lie === 'sends-writers-back' && !sentBack.has(etagOf(body))) {
        sentBack.add(etagOf(body));
        fail(response, 409, 'ConditionalRequestConflict');
        return;
      }
      if (!holds(lie, request, found)) {
        if (lie === 'keeps-another') objects.set(key, body);
        fail(response, 412, 'PreconditionFailed');
        return;
      }
      if (lie === 'checks-then-writes') await sleep(20);
      objects.set(key, body);
      response.writeHead(200, { etag: etagOf(body) }).end();
      return;
    case 'DELETE':
      objects.delete(key);
      response.writeHead(204).end();
      return;
    default:
      // The bucket itself is there.
      if (/^\/[^/]+\/?$/.test(key)) response.writeHead(200).end();
      else if (found === undefined) fail(response, 404, 'NoSuchKey');
      else response.writeHead(200, { etag: etagOf(found) }).end(found);
  }
}

function holds(lie: Lie, { headers }: IncomingMessage, found: Buffer | undefined): boolean {
  const match = headers['if-match'];
  if (match !== undefined && lie !== 'ignores-if-match') {
    if (found === undefined) return lie === 'creates-by-if-match';
    return etagOf(found) === match;
  }
  return headers['if-none-match'] === undefined || lie === 'ignores-if-none-match' || found === undefined;
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(`<Error><Code>${code}</Code></Error>`);
}

function etagOf(data: Buffer): string {
  return `"${createHash('md5').update(data).digest('hex')}"`;
}
