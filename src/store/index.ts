/** The object store: objects, and the commit protocol. */
export * from './anchors.js';
export * from './answers.js';
export * from './attempt-files.js';
export * from './checkpoints.js';
export * from './digest.js';
export * from './errors.js';
export * from './head.js';
export * from './lease.js';
export * from './ledger.js';
export * from './models.js';
export * from './object-store.js';
export * from './race-probe.js';
export * from './recorded-commits.js';
export * from './run-owner.js';
export * from './stage-spec.js';
export * from './stale-uploads.js';
export * from './transfer.js';
