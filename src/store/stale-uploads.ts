/** Multipart uploads that nobody will finish: they cost storage and show in no listing. */
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import type { ListMultipartUploadsCommandInput, ListMultipartUploadsCommandOutput } from '@aws-sdk/client-s3';
import { formatUrl, parseUrl } from '../contracts/layout.js';
import { isStoreError } from './errors.js';
import { translating } from './object-store.js';
import type { ObjectStore } from './object-store.js';

/** A multipart upload under way. */
export interface PendingUpload {
  readonly url: string;
  readonly id: string;
  readonly startedAt: Date;
}

/** Multipart uploads below a prefix that are neither complete nor aborted. */
export async function* pendingUploads(store: ObjectStore, prefixUrl: string): AsyncGenerator<PendingUpload> {
  const { bucket, key } = parseUrl(prefixUrl);
  const pages = pagesFrom(store, prefixUrl, { Bucket: bucket, Prefix: `${key}/` });
  for await (const page of pages) {
    for (const { Key: object, UploadId: id, Initiated: startedAt } of page.Uploads ?? []) {
      if (object !== undefined && id !== undefined) {
        yield { url: formatUrl({ bucket, key: object }), id, startedAt: startedAt ?? new Date(0) };
      }
    }
  }
}

async function* pagesFrom(
  store: ObjectStore,
  prefixUrl: string,
  request: ListMultipartUploadsCommandInput,
): AsyncGenerator<ListMultipartUploadsCommandOutput> {
  const page = await translating(prefixUrl, () =>
    store.client.send(new ListMultipartUploadsCommand(request)),
  );
  yield page;
  if (page.IsTruncated !== true) return;
  const next = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
  yield* pagesFrom(store, prefixUrl, { ...request, ...next });
}

/** Aborts the uploads below a prefix that `isStale` says so of; returns them. One that just completed is left alone. */
export async function abortUploads(
  store: ObjectStore,
  prefixUrl: string,
  isStale: (upload: PendingUpload) => boolean,
): Promise<PendingUpload[]> {
  const stale: PendingUpload[] = [];
  for await (const upload of pendingUploads(store, prefixUrl)) if (isStale(upload)) stale.push(upload);
  for (const { url, id } of stale) {
    const { bucket, key } = parseUrl(url);
    const command = new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: id });
    try {
      await translating(url, () => store.client.send(command));
    } catch (error) {
      if (!isStoreError(error, 'not-found')) throw error;
    }
  }
  return stale;
}
