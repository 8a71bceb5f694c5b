import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { datasetsOf, mixPartName } from '../../../src/domain/walk/datasets.js';
import { RECIPE_EXAMPLES } from '../../../src/domain/recipe/presets/examples.js';
import { recipeSummary, stepSummary } from '../../../src/domain/walk/summary.js';
import { walk } from '../../../src/domain/walk/walk.js';
import type { Step } from '../../../src/domain/walk/walk.js';
import { present, resolve } from './support.js';

const folders = (input: unknown) => walk(resolve(input)).map((step) => step.folder);

function step<K extends Step['kind']>(input: unknown, kind: K, name: string): Extract<Step, { kind: K }> {
  const found = walk(resolve(input)).find(
    (one): one is Extract<Step, { kind: K }> => one.kind === kind && one.folder.endsWith(`-${name}`),
  );
  return present(found);
}

/** RoPE bases of the tiny preset. */
const theta = {
  base: resolve({}).base.ropeTheta,
  one: present(resolve({}).stages['stage-1']).ropeTheta,
  two: present(resolve({}).stages['stage-2']).ropeTheta,
};

const branches = present(RECIPE_EXAMPLES.find(({ title }) => title.includes('Table 7'))).recipe;

describe('a recipe is walked from curation to report', () => {
  it('does the tiny preset in the order of the paper', () => {
    expect(folders({})).toEqual([
      '01-curation',
      '02-base-evaluation',
      '03-rope-stage-1',
      '04-stage-1',
      '05-rope-stage-2',
      '06-stage-2',
      '07-sft',
      '08-evaluation',
      '09-report',
    ]);
  });

  it('does prolong-8b in the same order', () => {
    expect(folders({ preset: 'prolong-8b' })).toEqual(folders({}));
  });

  it('walks branches depth first, siblings by name, each after its own bump', () => {
    expect(folders(branches)).toEqual([
      '01-curation',
      '02-base-evaluation',
      '03-rope-stage-1',
      '04-stage-1',
      '05-more-1k',
      '06-rope-more-4k',
      '07-more-4k',
      '08-evaluation',
      '09-report',
    ]);
  });

  it('evaluates as soon as every model it compares is there', () => {
    const early = { targets: { 'stage-1': { model: 'stage-1' } }, tasks: ['kv-recall'] };
    expect(folders({ evaluations: { 'after-stage-1': early } }).slice(3, 6)).toEqual([
      '04-stage-1',
      '05-after-stage-1',
      '06-rope-stage-2',
    ]);
  });

  it('says the same again for a recipe whose keys come in another order', () => {
    const names = ['alpha', 'beta', 'gamma', 'delta'];
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { minLength: 4 }), (order) => {
        const stages = Object.fromEntries(order.map((name) => [name, { like: 'stage-1', steps: 1 }]));
        expect(folders({ stages })).toEqual(
          folders({ stages: Object.fromEntries(Object.entries(stages).sort()) }),
        );
      }),
      { numRuns: 10 },
    );
  });
});

describe('steps know what they depend on', () => {
  it('waits for nothing that comes later on the list', () => {
    for (const input of [{}, branches, { preset: 'prolong-8b' }]) {
      const steps = walk(resolve(input));
      steps.forEach(({ dependsOn }, index) => {
        const before = steps.slice(0, index).map((one) => one.folder);
        expect(before).toEqual(expect.arrayContaining([...dependsOn]));
      });
    }
  });

  it('starts stage 2 from stage 1 with the config of its own bump, SFT from stage 2 with the same config', () => {
    expect(step({}, 'training', 'stage-2')).toMatchObject({
      source: { from: 'stage', stage: 'stage-1', folder: '04-stage-1' },
      configFrom: '05-rope-stage-2',
      maxPositionEmbeddings: 4096,
      dependsOn: ['01-curation', '04-stage-1', '05-rope-stage-2'],
    });
    expect(step({}, 'sft', 'sft')).toMatchObject({
      source: { from: 'stage', stage: 'stage-2' },
      configFrom: '05-rope-stage-2',
      maxPositionEmbeddings: 4096,
    });
  });

  it('evaluates baselines with only the RoPE base changed', () => {
    const { targets } = step({}, 'evaluation', 'base-evaluation');
    expect(targets.map(({ name, effectiveTheta }) => [name, effectiveTheta])).toEqual([
      ['base', theta.base],
      ['base-at-stage-1-theta', theta.one],
      ['base-at-stage-2-theta', theta.two],
    ]);
    expect(
      targets.every((target) => target.source.from === 'base' && target.trainedLengthTokens === 256),
    ).toBe(true);
  });

  it('lists models in the order in which they are made', () => {
    const last = walk(resolve({}))
      .filter((one) => one.kind === 'evaluation')
      .at(-1);
    expect(last?.targets.map(({ name }) => name)).toEqual(['stage-1', 'stage-2', 'sft']);
  });
});

describe('a RoPE bump is a step of its own where something changes', () => {
  it('records both bases, the lengths and the suggestion of dynamic NTK', () => {
    const { bump } = step({ preset: 'prolong-8b' }, 'rope-bump', 'rope-stage-1');
    expect(bump).toMatchObject({
      oldTheta: 5e5,
      newTheta: 8e6,
      oldLengthTokens: 8192,
      targetLengthTokens: 65_536,
      lengthRatio: 8,
    });
    expect(bump.suggestion / 1e6).toBeCloseTo(4.13, 2);
  });

  it('is there without a new base too when sequences become longer, as config.json must say so', () => {
    const kept = { stages: { 'stage-1': { ropeTheta: theta.base } } };
    expect(step(kept, 'rope-bump', 'rope-stage-1').bump).toMatchObject({
      oldTheta: theta.base,
      newTheta: theta.base,
      lengthRatio: 4,
    });
  });

  it('is left out where neither base nor length changes', () => {
    expect(folders(branches)).not.toContain('05-rope-more-1k');
  });
});

describe('curation is told every dataset', () => {
  it('makes one per stage, and held-out text per task and length', () => {
    const tasks = {
      needle: { lengths: [{ lengthTokens: '1K', contexts: 3 }] },
      'held-out-loss': { lengths: [{ lengthTokens: '4K', rows: 5 }] },
    };
    const made = datasetsOf(resolve({ tasks })).map(
      ({ purpose, name, rows }) => `${purpose} ${name}: ${rows}`,
    );
    expect(made).toEqual([
      'training sft: 160',
      'training stage-1: 800',
      'training stage-2: 200',
      'held-out held-out-loss-4k: 5',
      'held-out needle-1k: 3',
    ]);
  });

  it('makes no text for a task that nothing uses', () => {
    const evaluations = { 'base-evaluation': { tasks: ['kv-recall'] }, evaluation: { tasks: ['kv-recall'] } };
    const purposes = datasetsOf(resolve({ evaluations })).map(({ purpose }) => purpose);
    expect(new Set(purposes)).toEqual(new Set(['training']));
  });

  it('names a part with its length only where the mix has several of its domain', () => {
    const { mix } = present(resolve({}).stages['stage-2']);
    const names = mix.map((part) => mixPartName(part, mix));
    expect(names).toContain('code@4096');
    expect(names).toContain('code@1024');
    expect(names).toContain('textbooks');
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('summaries', () => {
  it('tells a recipe in one line', () => {
    expect(recipeSummary(resolve({}))).toBe(
      'tiny: base-tiny → stage-1 1K → stage-2 4K → sft 1K; 1.80M tokens, 2 evaluations',
    );
  });

  it('tells every step in one line', () => {
    for (const one of walk(resolve({}))) expect(stepSummary(one)).toMatch(/^[^\n]{10,}$/);
    expect(stepSummary(step({ preset: 'prolong-8b' }, 'rope-bump', 'rope-stage-2'))).toBe(
      '8e6 to 1.28e8 for 512K (dynamic NTK suggests 6.61e7)',
    );
  });
});
