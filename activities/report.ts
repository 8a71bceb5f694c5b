/** The report: reads what a finished run left in the object store, writes `report/index.html` and `report/data.json`. */
import type { z } from 'zod';
import {
  datasetManifestSchema,
  epochSchema,
  evaluationResultsSchema,
  eventFileSchema,
  jobSpecSchema,
  outcomeSchema,
} from '../src/contracts/index.js';
import type { DatasetRef, Digest, JobEvent } from '../src/contracts/index.js';
import { assembleReport } from '../src/report/data/assemble.js';
import { datasetsOfSpec } from '../src/report/data/gathered.js';
import type { GatheredAttempt, GatheredDataset, GatheredStage } from '../src/report/data/gathered.js';
import { renderReport } from '../src/report/page/page.js';
import { reportDataSchema } from '../src/report/data/report-data.js';
import type { ReportRequest } from '../src/report/data/request.js';
import { sha256 } from '../src/store/digest.js';
import { isStoreError } from '../src/store/errors.js';
import { runLayout, stageLayout } from '../src/contracts/layout.js';
import { parseJson } from '../src/store/object-store.js';
import type { ObjectStore } from '../src/store/object-store.js';
import { findSpecUrl } from '../src/store/stage-spec.js';
import { heartbeating } from './lib/heartbeating.js';
import { findResult } from './attempt/result.js';

/** What the activity needs. */
export interface ReportDependencies {
  readonly store: ObjectStore;
  /** Address of a run in the Temporal UI; absent: the report has no link. */
  readonly runUiUrl?: ((run: string) => string) | undefined;
}

/** A written report. */
export interface WrittenReport {
  /** `s3://…/report/index.html`. */
  readonly url: string;
  /** SHA-256 of the page. */
  readonly digest: Digest;
}

/** The activities of this file. */
export type ReportActivities = ReturnType<typeof createReportActivities>;

/** Creates the activities. */
export function createReportActivities({ store, runUiUrl }: ReportDependencies) {
  return {
    /** Writes the report of a run as it stands. What can't be read becomes a note on the page, never a failure. */
    writeReport: (request: ReportRequest): Promise<WrittenReport> =>
      heartbeating(() => writeReport({ store, runUiUrl }, request)),
  };
}

async function writeReport(
  { store, runUiUrl }: ReportDependencies,
  request: ReportRequest,
): Promise<WrittenReport> {
  const reader = new RunReader(store);
  const stages = await reader.stages(request);
  const datasets = await reader.datasets(stages);
  const data = assembleReport({
    request,
    stages,
    datasets,
    notes: reader.notes,
    generatedAt: new Date().toISOString(),
    temporalUiUrl: runUiUrl?.(request.run) ?? null,
  });
  const { report, reportData } = reportUrls(request.runUrl);
  await store.putJson(reportData, reportDataSchema, data);
  const page = Buffer.from(renderReport(data));
  await store.put(report, page);
  return { url: report, digest: sha256(page) };
}

function reportUrls(runUrl: string) {
  const { report, reportData } = runLayout(runUrl);
  return { report, reportData };
}

/** Reads a run's objects and notes what it can't read. */
class RunReader {
  readonly notes: string[] = [];

  constructor(readonly store: ObjectStore) {}

  /** The objects of every stage of the run; the attempts of an adopted one are those that made it, in another run. */
  async stages({ runUrl, status }: ReportRequest): Promise<GatheredStage[]> {
    const stages: GatheredStage[] = [];
    for (const { folder, kind } of status.stages) {
      if (kind === 'curation' || kind === 'rope-bump' || kind === 'report') continue;
      stages.push(await this.#stage(folder, runLayout(runUrl).stage(folder)));
    }
    return stages;
  }

  /** The manifests of all datasets that the stages read, each once. */
  async datasets(stages: readonly GatheredStage[]): Promise<GatheredDataset[]> {
    const refs = stages.flatMap(({ spec }) => (spec === null ? [] : datasetsOfSpec(spec)));
    const distinct = [...new Map(refs.map((ref) => [ref.digest, ref])).values()];
    const found = await Promise.all(distinct.map((ref) => this.#dataset(ref)));
    return found.filter((dataset) => dataset !== null);
  }

  async #stage(folder: string, url: string): Promise<GatheredStage> {
    const layout = stageLayout(url);
    const result = await findResult(this.store, url);
    const madeAt = result?.stageUrl ?? url;
    const ownEpoch = madeAt === url ? (result?.outcome.epoch ?? null) : null;
    const [spec, results, epochs] = await Promise.all([
      this.#read(await findSpecUrl(this.store, url, ownEpoch), jobSpecSchema),
      this.#read(layout.results, evaluationResultsSchema),
      this.store.folders(stageLayout(madeAt).attempts),
    ]);
    const attempts = await Promise.all(epochs.sort().map((epoch) => this.#attempt(madeAt, Number(epoch))));
    return { folder, url, spec, attempts, results };
  }

  async #attempt(stageUrl: string, epochNumber: number): Promise<GatheredAttempt> {
    const layout = stageLayout(stageUrl);
    const epoch = epochSchema.parse(epochNumber);
    const outcome = await this.#read(layout.outcome(epoch), outcomeSchema);
    const events: JobEvent[] = [];
    for await (const { url } of this.store.list(layout.events(epoch))) {
      events.push(...((await this.#read(url, eventFileSchema))?.events ?? []));
    }
    return { epoch, outcome, events };
  }

  async #dataset(ref: DatasetRef): Promise<GatheredDataset | null> {
    try {
      const data = await this.store.getVerified(ref.manifestUrl, ref.digest);
      return { ref, manifest: parseJson(ref.manifestUrl, data, datasetManifestSchema) };
    } catch (error) {
      return this.#note(error);
    }
  }

  /** The object; null when it isn't there, and with a note when it can't be understood. */
  async #read<T>(url: string, schema: z.ZodType<T>): Promise<T | null> {
    try {
      return (await this.store.findJson(url, schema))?.value ?? null;
    } catch (error) {
      return this.#note(error);
    }
  }

  /** Broken and missing objects make a report with gaps; trouble with the store itself is worth another try. */
  #note(error: unknown): null {
    if (!isStoreError(error, 'not-found', 'invalid-object')) throw error;
    this.notes.push(error.message);
    return null;
  }
}
