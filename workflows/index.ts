/** Every workflow type. */
export { curation } from './curation.js';
export { evaluation } from './evaluation.js';
export { janitor } from './janitor.js';
export { recipe } from './recipe.js';
export { trainingStage } from './training-stage.js';
