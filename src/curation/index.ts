/** Curation: from a recipe's sources to datasets of MDS shards. */
export { checkDataset, curateDataset } from './curate.js';
export type { CuratedDataset, CurationJob, CurationProgress } from './curate.js';
export { folderSink } from './write/dataset-sink.js';
export type { DatasetSink } from './write/dataset-sink.js';
export { CurationError } from './errors.js';
export type { SourceRoots } from './read/index.js';
