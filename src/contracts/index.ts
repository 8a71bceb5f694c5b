/** Everything that crosses a language or process border, and where it lies. */
export * from './common.js';
export * from './attempt.js';
export * from './checkpoint.js';
export * from './dataset.js';
export * from './evaluation.js';
export * from './events.js';
export * from './job-spec.js';
export * from './layout.js';
export * from './outcome.js';
