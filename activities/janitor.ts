/**
 * The janitor: stops jobs that nobody answers for and gives up uploads that nobody will finish. Terminate, a reset and a lost
 * worker run no code of ours; this is who tidies up after them, and who writes into the ledger what nobody else could.
 */
import { Context } from '@temporalio/activity';
import type { Backend } from '../src/backends/backend.js';
import { attemptSchema, epochSchema } from '../src/contracts/index.js';
import type { FoundOrphan } from '../src/domain/janitor.js';
import { decodeLabels } from '../src/domain/job-labels.js';
import type { JobLabels } from '../src/domain/job-labels.js';
import { isStoreError } from '../src/store/errors.js';
import { stageLayout } from '../src/store/layout.js';
import { readLease } from '../src/store/lease.js';
import type { ObjectStore } from '../src/store/object-store.js';
import { abortUploads, pendingUploads } from '../src/store/stale-uploads.js';
import { orphanReason, stageWorkflowState } from './janitor-reasons.js';
import { recordOrphanEnd } from './janitor-record.js';

/** What the activities of this file need. */
export interface JanitorDependencies {
  readonly store: ObjectStore;
  readonly backend: Backend;
  /** `s3://bucket/prefix` where a recipe names no other. */
  readonly rootUrl: string;
}
