/**
 * The janitor: stops jobs that nobody answers for, and gives up uploads that nobody will finish. Terminate, a reset and a
 * worker lost run no code of ours; this tidies up after them, and tells the ledger what nobody else could.
 */
import { Context } from '@temporalio/activity';
import type { Backend } from '../../src/backends/backend.js';
import type { FoundOrphan } from '../../src/domain/run/janitor.js';
import { rootLayout, rootOfStage, stageOf } from '../../src/contracts/layout.js';
import { decodeLabels } from '../../src/domain/attempt/labels.js';
import { readLease } from '../../src/store/lease.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { abortUploads, pendingUploads } from '../../src/store/stale-uploads.js';
import { refusing } from '../lib/failures.js';
import { CutRunSweep } from './cut-runs.js';
import { OrphanSweep } from './orphans.js';

/** What the activities of this file need. */
export interface JanitorDependencies {
  readonly store: ObjectStore;
  readonly backend: Backend;
  /** `s3://bucket/prefix` where a recipe names no other. */
  readonly rootUrl: string;
}

/** The activities of this file. */
export type JanitorActivities = ReturnType<typeof createJanitorActivities>;

/** Creates the activities. */
export function createJanitorActivities({ store, backend, rootUrl }: JanitorDependencies) {
  const settledJobs = new Set<string>();
  const settledRuns = new Set<string>();
  return {
    /** Stops running jobs whose workflow is closed, or whose stage another attempt has taken over. */
    stopOrphans: (): Promise<FoundOrphan[]> =>
      refusing(() => new OrphanSweep(Context.current(), store, backend, settledJobs).run()),

    /** Records the ends of runs that could not do so themselves; returns their names. */
    recordCutRuns: (): Promise<string[]> =>
      refusing(async () => {
        const { roots } = await stagesOf(backend);
        const sweep = new CutRunSweep(Context.current(), store, settledRuns);
        return sweep.run(new Set([rootUrl, ...roots]));
      }),

    /** Aborts multipart uploads below stages without a live attempt that are older than so many seconds; returns their URLs. */
    abortStaleUploads: ({ minAgeSeconds }: { readonly minAgeSeconds: number }): Promise<string[]> =>
      refusing(async () => {
        const { running, roots } = await stagesOf(backend);
        const aborted: string[] = [];
        for (const root of new Set([rootUrl, ...roots])) {
          // When uploads began is the store's word: so is how late it is. A store that doesn't say keeps them.
          const now = await store.now(root);
          if (now === null) continue;
          const before = now.getTime() - minAgeSeconds * 1000;
          const { runs } = rootLayout(root);
          const live = await liveStages(store, runs, running);
          const stale = await abortUploads(store, runs, ({ url, startedAt }) => {
            const stage = stageOf(url);
            return stage !== null && !live.has(stage) && startedAt.getTime() <= before;
          });
          aborted.push(...stale.map(({ url }) => url));
          Context.current().heartbeat();
        }
        return aborted;
      }),
  };
}

/** Stages that jobs run for, and the root prefixes that any job worked below. */
async function stagesOf(backend: Backend) {
  const running = new Set<string>();
  const roots = new Set<string>();
  for (const name of await backend.list()) {
    const labels = decodeLabels(await backend.labels(name));
    if (labels === null) continue;
    roots.add(rootOfStage(labels.stageUrl));
    if ((await backend.observe(name)).state === 'running') running.add(labels.stageUrl);
  }
  return { running, roots };
}

/** Of the stages with pending uploads, those that a job runs for, here or, by their lease, elsewhere. */
async function liveStages(
  store: ObjectStore,
  runsUrl: string,
  running: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const stages = new Set<string>();
  for await (const { url } of pendingUploads(store, runsUrl)) {
    const stage = stageOf(url);
    if (stage !== null) stages.add(stage);
  }
  const live = new Set<string>();
  for (const stage of stages) {
    const lease = running.has(stage) ? null : await readLease(store, stage);
    if (running.has(stage) || lease?.isLive === true) live.add(stage);
  }
  return live;
}
