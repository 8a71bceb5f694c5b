/**
 * Search attributes of the `recipe` workflow: few on purpose (SQL visibility stores have 10 Keyword slots and 3 of each
 * other type per namespace). Registered by the embedded stack and by `longhaul doctor --register`; upserted by the workflow.
 */

/** Value types that are used here, as Temporal names them. */
export type SearchAttributeKind = 'Keyword' | 'Int' | 'Double';

/** Name and type of every search attribute. */
export const SEARCH_ATTRIBUTES = {
  stage: { name: 'LonghaulStage', kind: 'Keyword', meaning: 'Folder of the current stage' },
  state: { name: 'LonghaulState', kind: 'Keyword', meaning: 'State of the run' },
  step: {
    name: 'LonghaulStep',
    kind: 'Int',
    meaning: 'Optimizer step of the current stage; of an evaluation, samples done',
  },
  loss: { name: 'LonghaulLoss', kind: 'Double', meaning: 'Newest loss, nats per token' },
  preset: { name: 'LonghaulPreset', kind: 'Keyword', meaning: 'Preset the recipe started from' },
} as const satisfies Record<string, { name: string; kind: SearchAttributeKind; meaning: string }>;
