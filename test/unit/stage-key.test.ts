import { describe, expect, it } from 'vitest';
import { trainSpecSchema } from '../../src/contracts/index.js';
import { stageKey } from '../../src/store/stage-key.js';
import spec from '../../src/contracts/fixtures/valid/job-spec/train-from-checkpoint.json' with { type: 'json' };

const train = trainSpecSchema.parse(spec);
const CODE = `sha256:${'0'.repeat(64)}`;

describe('a stage’s key is what it computes', () => {
  it('is the same wherever the run lies, whatever it is called and however often it reports', () => {
    const elsewhere = {
      ...train,
      run: 'another',
      stage: '07-other',
      stageUrl: 's3://elsewhere/runs/another/stages/07-other',
      events: { flushSeconds: 99, flushBytes: 1 },
      config: { ...train.config, url: 's3://elsewhere/config.json' },
    };
    expect(stageKey(elsewhere, CODE)).toBe(stageKey(train, CODE));
  });

  it('is another with other code, another setting, or other data', () => {
    const other = `sha256:${'1'.repeat(64)}`;
    const schedule = { ...train.schedule, peak: train.schedule.peak * 2 };
    const dataset = { ...train.data.dataset, digest: trainSpecSchema.shape.recipeDigest.parse(other) };
    const keys = [
      stageKey(train, CODE),
      stageKey(train, other),
      stageKey({ ...train, schedule }, CODE),
      stageKey({ ...train, data: { ...train.data, dataset } }, CODE),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });
});
