import { appendFile, rm } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Audit } from '../../src/audit/audit-data.js';
import { epochSchema, headSchema } from '../../src/contracts/index.js';
import type { CommitId } from '../../src/contracts/index.js';
import type { LedgerRecord } from '../../src/domain/ledger/records.js';
import { ledgerRecordUrl, runLayout, stageLayout } from '../../src/contracts/layout.js';
import { moveHead, openAttempt, quarantineCheckpoint } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import type { TestS3 } from '../support/s3-server.js';
import { checkNamed, useRunUnderAudit } from './audit-support.js';
import type { RunUnderAudit } from './audit-support.js';
import { RUN_ID } from './audited-run.js';
import type { AuditedRun } from './audited-run.js';
import { flipBit, truncateFile } from './support.js';

const under = useRunUnderAudit();
let server: TestS3;
let store: ObjectStore;
let run: AuditedRun;

beforeEach(() => {
  ({ server, store, run } = under.current);
});

const audit: RunUnderAudit['audit'] = (...args) => under.current.audit(...args);
const everyDifference = (found: Audit): string[] => under.current.differences(found);
/** What says more than that an object has not the digest that the ledger names: that one is a test of its own. */
const differences = (found: Audit): string[] =>
  everyDifference(found).filter(
    (text) => !/^objects: .*; record \d+\.json of the (run|stage)’s ledger/.test(text),
  );
const edit: RunUnderAudit['edit'] = (...args) => under.current.edit(...args);
const forged = (record: LedgerRecord): LedgerRecord => ({ ...record, at: '2026-01-05T23:50:59.000Z' });

/** What the first attempt of the training stage was opened with. */
function recordedSpec({ timeline }: Audit) {
  const opened = timeline.find(
    ({ folder, entry }) => folder === '03-stage-1' && entry.type === 'attempt-opened',
  );
  const spec = opened?.entry.type === 'attempt-opened' ? opened.entry.spec : undefined;
  if (spec === undefined) throw new Error('no attempt was opened');
  return spec;
}

describe('a run that nobody touched verifies', () => {
  it.each(['full', 'quick'] as const)('from the object store alone (%s)', async (level) => {
    const found = await audit(level);
    expect(everyDifference(found)).toEqual([]);
    expect(found).toMatchObject({ verdict: 'not-checked', level, state: 'completed', run: 'r' });
    expect(found.checks.map(({ name, state }) => [name, state])).toEqual([
      ['ledger', 'verified'],
      ['seals', 'verified'],
      ['Temporal', 'not-checked'],
      ['recipe', 'verified'],
      ['attempts', 'verified'],
      ['inputs', 'verified'],
      ['datasets', 'verified'],
      ['checkpoints', 'verified'],
      ['models', 'verified'],
      ['results', 'verified'],
      ['objects', 'verified'],
    ]);
  });

  it('and says what was read', async () => {
    const found = await audit();
    expect(checkNamed(found, 'ledger').summary).toBe('22 records in 3 chains');
    expect(checkNamed(found, 'datasets').summary).toMatch(/^1 dataset, 6\.40 kB read again and re-hashed$/);
    expect(checkNamed(found, 'checkpoints').summary).toMatch(/^5 checkpoints, .* read again and re-hashed$/);
    expect(checkNamed(found, 'models').summary).toMatch(/^2 models, /);
    expect(checkNamed(found, 'results').summary).toMatch(/^3 results, /);
  });

  it('its timeline has all chains in one order', async () => {
    const { timeline } = await audit();
    expect(timeline).toHaveLength(22);
    expect(timeline.map(({ at }) => at)).toEqual(timeline.map(({ at }) => at).toSorted());
    const ofStage = timeline.filter(({ folder }) => folder === '03-stage-1').map(({ index }) => index);
    expect(ofStage).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('every second has a label, and every dollar', async () => {
    const { accounting } = await audit();
    const [training, evaluation] = accounting.stages;
    expect(training).toMatchObject({ folder: '03-stage-1', attempts: 3 });
    // 21 s to 241 s: three attempts of 40, 100 and 40 s, parked from 161 s to 201 s.
    expect(training?.seconds).toMatchObject({ hung: 60, parked: 40, queued: 3 });
    expect(total(training?.seconds)).toBeCloseTo(220);
    expect(evaluation?.seconds).toMatchObject({ useful: 80, replayed: 0, parked: 0 });
    expect(total(evaluation?.seconds)).toBeCloseTo(100);
    expect(accounting.waitingSeconds).toBe(59);
    expect(accounting.secondsWithoutDevices).toBe(22);
    expect(accounting.allSeconds + accounting.secondsWithoutDevices).toBeCloseTo(401);
    expect(accounting.cost?.byLabel.hung).toBeCloseTo(0.12);
    expect(accounting.cost?.byLabel.parked).toBe(0);
    expect(accounting.goodput).toBeCloseTo(accounting.seconds.useful / accounting.allSeconds);
  });

  it('says that its attempts share a fingerprint, and how many left none', async () => {
    const { numerics } = await audit();
    expect(numerics[0]).toEqual({
      folder: '03-stage-1',
      attempts: 2,
      unknown: 1,
      identical: true,
      differing: [],
    });
  });

  it('a quarantined checkpoint is known to be bad, and no difference; one that nobody has marked is', async () => {
    const { value } = await store.getJson(stageLayout(run.stageUrl).head, headSchema);
    const [newest, oldest] = [value.ancestors[0], value.ancestors.at(-1)];
    if (newest === undefined || oldest === undefined) throw new Error('the stage has several commits');
    const weights = (id: CommitId) =>
      server.fileOf(`${stageLayout(run.stageUrl).checkpoint(id)}/model.safetensors`);
    await flipBit(weights(oldest.id));
    expect(everyDifference(await audit())).toEqual([]);
    await flipBit(weights(newest.id));
    expect((await audit()).verdict).toBe('different');
    const bad = { commit: newest.id, level: 'loaded', problems: ['a bit'] } as const;
    await quarantineCheckpoint(store, run.stageUrl, bad, epochSchema.parse(3));
    const mark = `objects: stages/03-stage-1/checkpoints/${newest.id}/quarantine.json`;
    expect(everyDifference(await audit())).toEqual([
      `${mark} is said to be of attempt 3, by whose end it was not there`,
      `${mark} was not there when the stage ended`,
    ]);
  });

  it('a stage under way has no seal yet', async () => {
    await run.run.add(500, {
      type: 'run-opened',
      run: 'r',
      recipeDigest: (await audit()).recipeDigest ?? '',
      namespace: 'default',
      workflowId: 'r',
      runId: RUN_ID,
    });
    await run.run.add(500, {
      type: 'stage-started',
      folder: '03-stage-1',
      kind: 'training',
      title: 'Stage 1, 1K',
    });
    await run.training.add(501, {
      type: 'stage-adopted',
      why: 'a verified result is there',
      digest: run.model.digest,
    });
    const found = await audit();
    expect(differences(found)).toEqual([]);
    expect(found.state).toBe('running');
  });
});

describe('every difference is found, with its object', () => {
  const layout = () => runLayout(run.runUrl);
  const stage = () => stageLayout(run.stageUrl);

  it.each(['model.safetensors', 'optimizer/rank-0'])('a flipped bit in a checkpoint’s %s', async (file) => {
    await flipBit(server.fileOf(`${stage().checkpoint(run.commit.id)}/${file}`));
    const [difference, ...others] = differences(await audit());
    expect(others).toEqual([]);
    expect(difference).toBe(
      `checkpoints: stages/03-stage-1/checkpoints/${run.commit.id} ${file}: bytes 0 to ${file === 'optimizer/rank-0' ? 49 : 1099} do not match their digest`,
    );
  });

  it('a flipped bit in a shard', async () => {
    await flipBit(server.fileOf(`${run.datasetUrl}/shard.00001.mds`));
    expect(differences(await audit())).toEqual([
      `datasets: ${run.datasetUrl}/manifest.json shard.00001.mds does not match its digest`,
    ]);
  });

  it('a flipped bit in the weights, and in the base model’s', async () => {
    for (const { url } of [run.model, run.base]) await flipBit(server.fileOf(`${url}/model.safetensors`));
    expect(differences(await audit())).toEqual([
      expect.stringMatching(/^models: .*export.* model\.safetensors: bytes 0 to 349 do not match/),
      expect.stringMatching(/^models: .*models\/base@0 model\.safetensors: bytes 0 to 599 do not match/),
    ]);
  });

  it.each(['full', 'quick'] as const)(
    'a shard that is cut short, and one that is gone (%s)',
    async (level) => {
      await truncateFile(server.fileOf(`${run.datasetUrl}/shard.00000.mds`));
      await store.delete([`${run.datasetUrl}/shard.00001.mds`]);
      const found = differences(await audit(level));
      expect(found).toHaveLength(2);
      expect(found[0]).toContain('shard.00000.mds has 1600 bytes, not 3200');
      expect(found[1]).toContain('shard.00001.mds is gone');
    },
  );

  it('a checkpoint’s file that is gone (quick)', async () => {
    await store.delete([`${stage().checkpoint(run.commit.id)}/model.safetensors`]);
    expect(differences(await audit('quick'))).toEqual([
      `checkpoints: stages/03-stage-1/checkpoints/${run.commit.id} model.safetensors is gone`,
    ]);
  });

  it('manifests: of a dataset, a checkpoint, a model', async () => {
    for (const url of [run.datasetUrl, stage().checkpoint(run.commit.id), run.model.url]) {
      await appendFile(server.fileOf(`${url}/manifest.json`), ' ');
    }
    const found = differences(await audit());
    expect(found.map((difference) => difference.split(':')[0])).toEqual([
      'datasets',
      'checkpoints',
      'models',
    ]);
  });

  it('results, a config, the report', async () => {
    const config = `${layout().stage('02-rope-bump')}/config.json`;
    await edit(stageLayout(layout().stage('04-evaluation')).results, '{}', '{"score": 1}');
    await edit(config, '8e4', '9e4');
    await store.delete([layout().report]);
    expect(differences(await audit())).toEqual([
      expect.stringMatching(/^results: stages\/02-rope-bump\/config\.json does not have the digest/),
      expect.stringMatching(/^results: stages\/04-evaluation\/results\.json does not have the digest/),
      'results: report/index.html is gone',
    ]);
  });

  it('the recipe', async () => {
    await edit(layout().recipe, '"seed": 42', '"seed": 43');
    expect(differences(await audit())).toEqual([
      expect.stringMatching(
        /^recipe: recipe\.json has the digest sha256:.*; record 1 of the ledger names sha256:/,
      ),
    ]);
  });

  it('an owner that did not open the run', async () => {
    await edit(layout().owner, '"namespace": "default"', '"namespace": "other"');
    await edit(layout().owner, '"workflowId": "r"', '"workflowId": "s"');
    expect(differences(await audit())).toEqual([
      'recipe: owner.json names the namespace other; the ledger says default',
      'recipe: owner.json names the workflow s; the ledger says r',
    ]);
  });

  it('another dataset in a job’s spec', async () => {
    const spec = JSON.parse(new TextDecoder().decode((await store.get(stage().spec)).data)) as unknown;
    const text = JSON.stringify(spec).replace(
      /("dataset":\{"manifestUrl":"[^"]+","digest":"sha256:)[0-9a-f]{4}/,
      '$10000',
    );
    await store.put(stage().spec, new TextEncoder().encode(text));
    expect(differences(await audit()).slice(0, 2)).toEqual([
      expect.stringMatching(/^inputs: stages\/03-stage-1\/spec\.json has the digest/),
      expect.stringMatching(
        /^inputs: stages\/03-stage-1\/spec\.json takes the dataset .* which the ledger does not know$/,
      ),
    ]);
  });

  it('a job’s spec that says something else than when its attempts were opened', async () => {
    const { digest } = recordedSpec(await audit());
    await edit(stage().spec, '"peak": 0.001', '"peak": 0.002');
    expect(differences(await audit())).toEqual([
      expect.stringMatching(
        `^inputs: stages/03-stage-1/spec.json has the digest sha256:.*; record 1 of the stage’s ledger names ${digest}$`,
      ),
    ]);
    await store.put(stage().spec, new TextEncoder().encode('{}'));
    expect(differences(await audit())).toEqual([
      expect.stringContaining('record 1 of the stage’s ledger names'),
      expect.stringMatching(/^objects: stages\/03-stage-1\/spec\.json is invalid/),
    ]);
    await store.delete([stage().spec]);
    expect(differences(await audit())).toEqual([
      `inputs: stages/03-stage-1/spec.json is gone; record 1 of the stage’s ledger names ${digest}`,
    ]);
  });

  it('a job of another recipe', async () => {
    await edit(stage().spec, '"recipeDigest": "sha256:', '"recipeDigest": "sha256:0000');
    const text = new TextDecoder().decode((await store.get(stage().spec)).data);
    const cut = text.replace(/("recipeDigest": "sha256:[0-9a-f]{64})[0-9a-f]{4}/, '$1');
    await store.put(stage().spec, new TextEncoder().encode(cut));
    expect(differences(await audit())).toEqual([
      expect.stringMatching(/^inputs: stages\/03-stage-1\/spec\.json has the digest/),
      expect.stringMatching(
        /^inputs: stages\/03-stage-1\/spec\.json is of the recipe sha256:0000.*never opened$/,
      ),
    ]);
  });

  it.each(['changed', 'removed'])('a record of the run’s chain that was %s', async (how) => {
    const url = ledgerRecordUrl(run.run.url, 8);
    await (how === 'removed' ? store.delete([url]) : edit(url, '"ann"', '"eve"'));
    const found = differences(await audit());
    expect(found[0]).toMatch(/^ledger: ledger\/000009\.json (follows|comes after a gap)/);
  });

  it('a stage’s chain rewritten and consistent in itself: by the seals in the run’s chain', async () => {
    await under.current.rewrite(run.training, 2, forged);
    const found = differences(await audit());
    expect(found).toEqual([
      expect.stringMatching(/^seals: stages\/03-stage-1\/ledger\/000004\.json was rewritten/),
      expect.stringMatching(/^seals: stages\/03-stage-1\/ledger\/000006\.json was rewritten/),
    ]);
  });

  it('a stage’s chain cut short, continued, or gone', async () => {
    await run.training.add(300, { type: 'stage-adopted', why: 'forged', digest: run.model.digest });
    expect(differences(await audit())).toEqual([
      'seals: stages/03-stage-1/ledger has 1 record behind the last seal; the stage is done',
    ]);
    await store.delete([7, 6].map((index) => ledgerRecordUrl(run.training.url, index)));
    expect(differences(await audit())[0]).toBe(
      'seals: stages/03-stage-1/ledger/000006.json is missing: the chain had 6 records, and now ends with 000005.json',
    );
    await store.delete([1, 2, 3, 4, 5].map((index) => ledgerRecordUrl(run.training.url, index)));
    expect(differences(await audit())[0]).toContain('and now is empty');
  });

  it('the whole ledger gone', async () => {
    await rm(server.fileOf(layout().ledger), { recursive: true });
    expect(differences(await audit())[0]).toBe('ledger: ledger holds no record: the run has no ledger');
  });

  it('an attempt, a stage and a claim that the ledger does not know', async () => {
    await openAttempt(store, { stageUrl: run.stageUrl, owner: 'somebody' });
    await store.put(`${stage().attempts}/0005/log.txt`, Buffer.from('hello'));
    await store.put(`${layout().stage('09-other')}/results.json`, Buffer.from('{}'));
    const found = differences(await audit());
    expect(found).toContain(
      'attempts: stages/03-stage-1/attempts/0005 is of an attempt that the ledger does not know',
    );
    expect(found).toContain('attempts: stages/03-stage-1/HEAD names epoch 4, which nobody has claimed');
    expect(found).toContain('seals: stages/09-other holds objects of a stage that the ledger does not know');
  });

  it('a claim that never led to a job is noted, and moves the HEAD of a finished stage', async () => {
    const { epoch } = await openAttempt(store, { stageUrl: run.stageUrl, owner: 'somebody' });
    await store.put(stage().attemptFile(epoch), Buffer.from('{}'));
    const found = await audit();
    expect(everyDifference(found)).toEqual([
      expect.stringMatching(/^objects: stages\/03-stage-1\/HEAD has the digest/),
    ]);
    expect(checkNamed(found, 'attempts').notes).toEqual([
      `${run.stageUrl}/attempts/0004 was claimed and never launched`,
    ]);
  });

  it('the end of an attempt that the janitor found later stands behind the seal, and is only noted', async () => {
    const tip = (await audit()).timeline.findLast(({ folder }) => folder === '03-stage-1');
    if (tip?.entry.type !== 'attempt-ended') throw new Error('the stage’s chain ends with an attempt');
    const opened = { job: 'r.03-stage-1.4', from: null, previousOwner: '', why: 'a test' } as const;
    await run.training.add(300, { type: 'attempt-opened', epoch: 4, ...opened });
    const { chain, ...ended } = {
      type: 'stage-ended',
      folder: '03-stage-1',
      result: 'done',
      chain: run.training.tip,
    } as const;
    await run.run.add(300, { ...ended, why: '', chain, artifacts: [] });
    await run.training.add(300, {
      ...tip.entry,
      epoch: 4,
      class: 'cancelled',
      commits: [],
      left: undefined,
      note: 'recorded by the janitor',
    });
    const found = await audit();
    expect(differences(found)).toEqual([]);
    expect(checkNamed(found, 'seals').notes).toEqual([
      `${run.stageUrl}/ledger has 1 record behind the last seal; the stage is done`,
    ]);
    // A second end of one that has ended is nobody's.
    await run.training.add(301, { ...tip.entry, note: 'recorded by the janitor' }, 'default/r/eve#ended');
    expect(differences(await audit())).toEqual([
      'seals: stages/03-stage-1/ledger has 2 records behind the last seal; the stage is done',
    ]);
  });

  it('a commit published by nobody’s epoch', async () => {
    await moveHead(store, run.stageUrl, (head) => ({ ...head, epoch: epochSchema.parse(9) }));
    expect(differences(await audit())).toEqual([
      'attempts: stages/03-stage-1/HEAD names epoch 9, which nobody has claimed',
    ]);
  });

  it('an outcome that tells another story', async () => {
    const first = `${stage().attempts}/0001/outcome.json`;
    await edit(first, '"tokens": 3000', '"tokens": 9999');
    await edit(`${stage().attempts}/0003/outcome.json`, '"step": 50,\n "tokens"', '"step": 51,\n "tokens"');
    await edit(
      stageLayout(layout().stage('04-evaluation')).outcome(epochSchema.parse(1)),
      '"schema"',
      '"scheme"',
    );
    expect(differences(await audit())).toEqual([
      'attempts: stages/03-stage-1/attempts/0001/outcome.json says 9999 tokens; the ledger says 3000',
      'attempts: stages/03-stage-1/attempts/0003/outcome.json says step 51; the ledger says 50',
      'attempts: stages/04-evaluation/attempts/0001/outcome.json is missing; the ledger says that the attempt is done',
      expect.stringMatching(
        /^objects: stages\/04-evaluation\/attempts\/0001\/outcome\.json is invalid: \$\.schema/,
      ),
    ]);
  });

  it('an attempt on other hardware is named', async () => {
    await edit(`${stage().attempts}/0003/outcome.json`, '"threads": 2', '"threads": 4');
    const found = await audit();
    expect(differences(found)).toEqual([]);
    expect(found.numerics[0]).toMatchObject({
      identical: false,
      differing: [{ epoch: 3, fields: ['threads: 4, not 2'] }],
    });
  });
});

function total(seconds: Readonly<Record<string, number>> | undefined): number {
  return Object.values(seconds ?? {}).reduce((sum, value) => sum + value, 0);
}
