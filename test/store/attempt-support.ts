/** An attempt as the workflow asks for it. */
import type { RunAttemptInput } from '../../activities/attempt/types.js';
import { jobSpecSchema } from '../../src/contracts/index.js';
import evaluateJson from '../../src/contracts/fixtures/valid/job-spec/evaluate.json' with { type: 'json' };

/** The first attempt of a stage of a run. */
export function attemptInput(rootUrl: string, run: string): RunAttemptInput {
  const stageUrl = `${rootUrl}/runs/${run}/stages/02-a`;
  return {
    run,
    rootUrl,
    folder: '02-a',
    spec: jobSpecSchema.parse({ ...evaluateJson, run, stage: '02-a', stageUrl }),
    reuse: false,
    specRevision: 0,
    owner: 'owner/1',
    why: 'the first attempt',
    from: 'head',
    force: false,
    skipSteps: [{ first: 3, last: 3 }],
    meanSecondsBetweenInterruptions: null,
    graceSeconds: 1,
    leaseSeconds: 10,
    watchdog: {
      settings: {
        factor: 2,
        floorSeconds: { import: 1, load: 1, 'first-step': 1, step: 1, save: 1, evaluate: 1, export: 1 },
      },
      learned: {},
    },
    avoidNodes: [],
    ledger: { records: 0, tip: null },
  };
}
