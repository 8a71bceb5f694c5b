/** Curation of one dataset: from sources on this machine to MDS shards and a manifest in the object store. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { join } from 'node:path';
import { z } from 'zod';
import type { DatasetRef, ModelRef } from '../src/contracts/index.js';
import { CurationError, CurationProcessError } from '../src/curation/errors.js';
import type { CurationProgress, SourceRoots } from '../src/curation/index.js';
import { curateInProcess } from '../src/curation/process/client.js';
import type { DatasetPlan } from '../src/domain/walk/datasets.js';
import type { FailureClass } from '../src/domain/attempt/failure-class.js';
import type { Recipe } from '../src/domain/recipe/schema.js';
import type { StoreSettings } from '../src/store/object-store.js';
import { heartbeating } from './lib/heartbeating.js';
import { Places } from './lib/places.js';
import { QueueTeller } from './lib/queue.js';

/** A process that dies at this try of the activity has died for a reason: its run is parked instead of trying on. */
const MOST_TRIES = 5;
/** What dies of a curation is its process. A worker that is lost meanwhile died of something else, which may happen in hours. */
const MOST_LOST_TRIES = 50;

/** What to curate, and with which tokenizer. */
export interface CurateInput {
  readonly dataset: DatasetPlan;
  readonly recipe: Recipe;
  readonly tokenizer: ModelRef;
  /** Prefix below which `datasets/` lies. */
  readonly rootUrl: string;
}

/** A dataset that is there now. */
export interface CuratedDataset {
  /** As the recipe's steps name it. */
  readonly name: string;
  readonly ref: DatasetRef;
  readonly rows: number;
  readonly tokens: number;
  /** Whether it was there before. */
  readonly adopted: boolean;
}

/** What the activities of this file need. */
export interface CurateDependencies {
  readonly storeSettings: StoreSettings;
  readonly roots: SourceRoots;
  /** Local folder for tokenised text, kept between datasets. */
  readonly cacheFolder: string;
  /** Curations that this worker runs at the same time. Default: no limit. */
  readonly maxCurations?: number;
}

/** The activities of this file. */
export type CurateActivities = ReturnType<typeof createCurateActivities>;

/** Creates the activities. */
export function createCurateActivities({
  storeSettings,
  roots,
  cacheFolder,
  maxCurations = Infinity,
}: CurateDependencies) {
  const places = new Places(maxCurations);
  return {
    /**
     * Curates a dataset in a process of its own, or adopts the one that the same inputs made before. Where as many run as
     * may, it waits as `queued`.
     * @throws ApplicationFailure `data` when too much of a source is bad or there is too little text; `user-error` when the
     * recipe names what isn't there; `out-of-memory` or `unknown` when the process keeps dying.
     */
    async curateDataset({ dataset, recipe, tokenizer, rootUrl }: CurateInput): Promise<CuratedDataset> {
      const request = {
        plan: dataset,
        data: recipe.data,
        seed: recipe.seed,
        vocabularySize: recipe.base.architecture.vocabularySize,
        tokenizer,
        rootUrl,
        roots,
        cacheFolder: join(cacheFolder, 'curation'),
        store: storeSettings,
      };
      const context = Context.current();
      const signal = context.cancellationSignal;
      const queue = new QueueTeller(context);
      // One whose worker is gone may have told that it waits.
      const isTold = places.isFull || wasQueued(context);
      let newest: CurationProgress | { readonly phase: 'queued' } | null = { phase: 'queued' };
      const onProgress = (progress: CurationProgress): void => void (newest = progress);
      const curated = (beat: () => void) => {
        newest = null;
        beat();
        if (isTold) queue.tell(false);
        return curateInProcess(request, { signal, onProgress });
      };
      if (places.isFull) {
        context.log.info('queued: as many curations run as may', { dataset: dataset.name });
        queue.tell(true);
      }
      return heartbeating(
        async (beat) => ({
          name: dataset.name,
          ...(await places.in(signal, () => curated(beat)).catch(throwFailure)),
        }),
        { details: () => newest, mostLostTries: MOST_LOST_TRIES },
      );
    },
  };
}

const heartbeatSchema = z.looseObject({ phase: z.literal('queued') });

/** Whether the try before this one waited for a place when it was heard of last. */
function wasQueued({ info }: Context): boolean {
  return heartbeatSchema.safeParse(info.heartbeatDetails).success;
}

/** @throws what a retry can't help as a failure of its class, everything else as it is. */
function throwFailure(error: unknown): never {
  const failureClass = classOf(error);
  if (failureClass === null || !(error instanceof Error)) throw error;
  throw ApplicationFailure.create({ type: failureClass, nonRetryable: true, message: error.message });
}

function classOf(error: unknown): FailureClass | null {
  if (error instanceof CurationError) return error.failureClass;
  if (!(error instanceof CurationProcessError)) return null;
  if (error.outOfMemory) return 'out-of-memory';
  return Context.current().info.attempt < MOST_TRIES ? null : 'unknown';
}
