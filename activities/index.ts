/** All activities with what they need, as the worker registers them. */
import type { Backend } from '../src/backends/backend.js';
import type { SourceRoots } from '../src/curation/read/index.js';
import type { ObjectStore, StoreSettings } from '../src/store/object-store.js';
import { createAttemptActivities } from './attempt/index.js';
import type { JobSettings } from './attempt/types.js';
import { createChildActivities } from './attempt/children.js';
import { createCurateActivities } from './curate.js';
import { createJanitorActivities } from './janitor/index.js';
import { createLedgerActivities } from './ledger/index.js';
import { createPrepareActivities } from './prepare/index.js';
import { createReportActivities } from './report.js';
import { createRopeBumpActivities } from './rope-bump.js';

/** What activities work with. */
export interface ActivityDependencies {
  readonly store: ObjectStore;
  /** How processes of their own reach the same store. */
  readonly storeSettings: StoreSettings;
  readonly backend: Backend;
  readonly jobs: JobSettings;
  /** `s3://bucket/prefix` where a recipe names no other. */
  readonly rootUrl: string;
  /** Buckets that a recipe may name. */
  readonly buckets: readonly string[];
  /** Folders that sources are looked up in. */
  readonly roots: SourceRoots;
  /** Folder of the models that ship with the project. */
  readonly modelsFolder: string;
  /** Local folder for what can be made again. */
  readonly cacheFolder: string;
  /** Curations that this worker runs at the same time. Default: no limit. */
  readonly maxCurations?: number;
  /** Address of a run in the Temporal UI. */
  readonly runUiUrl: (run: string) => string;
}

/** Creates every activity. */
export function createActivities(deps: ActivityDependencies) {
  return {
    ...createPrepareActivities(deps),
    ...createCurateActivities(deps),
    ...createRopeBumpActivities(deps),
    ...createAttemptActivities(deps),
    ...createChildActivities(deps),
    ...createLedgerActivities(deps),
    ...createReportActivities(deps),
    ...createJanitorActivities(deps),
  };
}
