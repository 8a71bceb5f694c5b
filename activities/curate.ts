/** Curation of one dataset: from sources on this machine to MDS shards and a manifest in the object store. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { join } from 'node:path';
import type { DatasetRef, ModelRef } from '../src/contracts/index.js';
import { curateDataset, CurationError } from '../src/curation/index.js';
import type { CurationProgress, DatasetSink, SourceRoots } from '../src/curation/index.js';
import type { DatasetPlan } from '../src/domain/datasets.js';
import type { Recipe } from '../src/domain/recipe-schema.js';
import { readModelManifest } from '../src/store/models.js';
import type { ObjectStore } from '../src/store/object-store.js';

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
  readonly store: ObjectStore;
  readonly roots: SourceRoots;
  /** Local folder for tokenised text, kept between datasets. */
  readonly cacheFolder: string;
}

/** The activities of this file. */
export type CurateActivities = ReturnType<typeof createCurateActivities>;

/** Creates the activities. */
export function createCurateActivities({ store, roots, cacheFolder }: CurateDependencies) {
  return {
    /**
     * Curates a dataset, or adopts the one that the same inputs made before.
     * @throws ApplicationFailure `data` when too much of a source is bad or there is too little text; `user-error` when the
     * recipe names what isn't there.
     */
    async curateDataset({ dataset, recipe, tokenizer, rootUrl }: CurateInput): Promise<CuratedDataset> {
      const heartbeat = new Heartbeat();
      try {
        const { ref, manifest, adopted } = await curateDataset({
          plan: dataset,
          data: recipe.data,
          seed: recipe.seed,
          tokenizerJson: await readTokenizer(store, tokenizer),
          vocabularySize: recipe.base.architecture.vocabularySize,
          roots,
          sink: storeSink(store, `${rootUrl}/datasets`),
          cacheFolder: join(cacheFolder, 'curation'),
          signal: Context.current().cancellationSignal,
          onProgress: (progress) => heartbeat.report(progress),
        });
        return { name: dataset.name, ref, rows: manifest.rows, tokens: manifest.tokens, adopted };
      } catch (error) {
        if (!(error instanceof CurationError)) throw error;
        throw ApplicationFailure.create({
          type: error.failureClass,
          nonRetryable: true,
          message: error.message,
        });
      } finally {
        heartbeat.stop();
      }
    },
  };
}

/** Heartbeats on a timer, with the newest progress as details: reading one large document may take a while. */
class Heartbeat {
  #progress: CurationProgress | null = null;
  readonly #timer: NodeJS.Timeout;

  constructor() {
    const context = Context.current();
    const everyMs = (context.info.heartbeatTimeoutMs ?? 30_000) / 3;
    this.#timer = setInterval(() => context.heartbeat(this.#progress), everyMs);
  }

  report(progress: CurationProgress): void {
    this.#progress = progress;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

async function readTokenizer(store: ObjectStore, tokenizer: ModelRef): Promise<Uint8Array> {
  const { files } = await readModelManifest(store, tokenizer);
  const [part, ...more] = files.find(({ path }) => path === 'tokenizer.json')?.parts ?? [];
  if (part === undefined || more.length > 0)
    throw new Error(`${tokenizer.url} holds no tokenizer.json of one part`);
  return store.getVerified(`${tokenizer.url}/tokenizer.json`, part.sha256);
}

/** Datasets below a prefix of the store. */
function storeSink(store: ObjectStore, prefix: string): DatasetSink {
  const url = (dataset: string, file: string): string => `${prefix}/${dataset}/${file}`;
  return {
    read: async (dataset, file) => (await store.find(url(dataset, file)))?.data,
    create: (dataset, file, bytes) => store.create(url(dataset, file), bytes),
    url,
  };
}
