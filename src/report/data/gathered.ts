/** What the report is assembled from: the workflow's word and what was read from the object store. */
import type {
  DatasetManifest,
  DatasetRef,
  EvaluationResults,
  JobEvent,
  JobSpec,
  Outcome,
} from '../../contracts/index.js';
import type { ReportRequest } from './request.js';

/** One attempt, as its objects tell. */
export interface GatheredAttempt {
  readonly epoch: number;
  readonly outcome: Outcome | null;
  /** In order. */
  readonly events: readonly JobEvent[];
}

/** A stage's objects. */
export interface GatheredStage {
  readonly folder: string;
  readonly url: string;
  readonly spec: JobSpec | null;
  /** Ascending by epoch. */
  readonly attempts: readonly GatheredAttempt[];
  /** Of an evaluation. */
  readonly results: EvaluationResults | null;
}

/** A dataset that some stage reads. */
export interface GatheredDataset {
  readonly ref: DatasetRef;
  readonly manifest: DatasetManifest;
}

/** Everything. */
export interface Gathered {
  readonly request: ReportRequest;
  readonly stages: readonly GatheredStage[];
  readonly datasets: readonly GatheredDataset[];
  /** What could not be read, in words for the reader. */
  readonly notes: readonly string[];
  /** ISO 8601, UTC, milliseconds. */
  readonly generatedAt: string;
  readonly temporalUiUrl: string | null;
}

/** Every dataset a job reads. */
export function datasetsOfSpec(spec: JobSpec): DatasetRef[] {
  switch (spec.kind) {
    case 'train':
      return [spec.data.dataset];
    case 'evaluate':
      return spec.tasks.flatMap((task) => {
        switch (task.task) {
          case 'kv-recall':
            return [];
          case 'needle':
            return [task.haystack];
          case 'held-out-loss':
            return [task.dataset];
        }
      });
  }
}
