import { appendFile, rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { auditRun, NoSuchRunError } from '../../src/audit/audit.js';
import type { Audit, Check } from '../../src/audit/audit-data.js';
import type { HistoryFacts, HistoryUpdate } from '../../src/audit/history.js';
import { auditLines } from '../../src/audit/text.js';
import { decodeRecord, encodeRecord, recordDigest } from '../../src/domain/ledger-chain.js';
import type { LedgerRecord } from '../../src/domain/ledger.js';
import {
  ledgerRecordUrl,
  moveHead,
  openAttempt,
  quarantineCheckpoint,
  runLayout,
  stageLayout,
} from '../../src/store/index.js';
import { epochSchema, headSchema } from '../../src/contracts/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { startFaultyProxy } from '../support/faulty-proxy.js';
import type { FaultyProxy } from '../support/faulty-proxy.js';
import { RUN_ID, action, writeRun } from './audited-run.js';
import type { AuditedRun, ChainWriter } from './audited-run.js';
import { flipBit, freshPrefix, truncateFile, useS3Server } from './support.js';

const server = useS3Server();
let store: ObjectStore;
let run: AuditedRun;
let proxy: FaultyProxy | undefined;

beforeEach(async () => {
  store = server.current.connect();
  run = await writeRun(store);
});

afterEach(async () => {
  await proxy?.stop();
  proxy = undefined;
});

const NO_SERVER = { unavailable: 'no server' };

async function audit(
  level: Audit['level'] = 'full',
  facts: HistoryFacts | { readonly unavailable: string } = NO_SERVER,
): Promise<Audit> {
  return auditRun({ store, runUrl: run.runUrl, level, history: () => Promise.resolve(facts) });
}

/** "check: object below the run message", of every difference. */
function differences({ checks }: Audit): string[] {
  return checks.flatMap(({ name, differences: found }) =>
    found.map(({ object, message }) => `${name}: ${object.replace(`${run.runUrl}/`, '')} ${message}`),
  );
}

function checkNamed({ checks }: Audit, name: string): Check {
  const check = checks.find((one) => one.name === name);
  if (check === undefined) throw new Error(`no check ${name}`);
  return check;
}

/** Every record of a chain from one on, changed and chained again: consistent in itself. */
async function rewrite(
  chain: ChainWriter,
  from: number,
  change: (record: LedgerRecord) => LedgerRecord,
): Promise<void> {
  const read = async (index: number): Promise<Uint8Array> =>
    (await store.get(ledgerRecordUrl(chain.url, index))).data;
  let previous = from === 1 ? null : recordDigest(await read(from - 1));
  for (let index = from; index <= chain.tip.records; index += 1) {
    const record = decodeRecord(await read(index));
    if (typeof record === 'string') throw new Error(record);
    const bytes = encodeRecord({ ...(index === from ? change(record) : record), previous });
    await store.put(ledgerRecordUrl(chain.url, index), bytes);
    previous = recordDigest(bytes);
  }
}

async function edit(url: string, from: string, to: string): Promise<void> {
  const text = new TextDecoder().decode((await store.get(url)).data);
  expect(text).toContain(from);
  await store.put(url, new TextEncoder().encode(text.replace(from, to)));
}

const forged = (record: LedgerRecord): LedgerRecord => ({ ...record, at: '2026-01-05T23:50:59.000Z' });

describe('a run that nobody touched verifies', () => {
  it.each(['full', 'quick'] as const)('from the object store alone (%s)', async (level) => {
    const found = await audit(level);
    expect(differences(found)).toEqual([]);
    expect(found).toMatchObject({ verdict: 'verified', level, state: 'completed', run: 'r' });
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

  it('a quarantined checkpoint is known to be bad, and no difference', async () => {
    const { value } = await store.getJson(stageLayout(run.stageUrl).head, headSchema);
    const [ancestor] = value.ancestors;
    if (ancestor === undefined) throw new Error('the stage has several commits');
    await flipBit(
      server.current.fileOf(`${stageLayout(run.stageUrl).checkpoint(ancestor.id)}/model.safetensors`),
    );
    expect((await audit()).verdict).toBe('different');
    const bad = { commit: ancestor.id, level: 'loaded', problems: ['a bit'] } as const;
    await quarantineCheckpoint(store, run.stageUrl, bad, epochSchema.parse(3));
    expect(differences(await audit())).toEqual([]);
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
    await flipBit(server.current.fileOf(`${stage().checkpoint(run.commit.id)}/${file}`));
    const [difference, ...others] = differences(await audit());
    expect(others).toEqual([]);
    expect(difference).toBe(
      `checkpoints: stages/03-stage-1/checkpoints/${run.commit.id} ${file}: bytes 0 to ${file === 'optimizer/rank-0' ? 49 : 1099} do not match their digest`,
    );
  });

  it('a flipped bit in a shard', async () => {
    await flipBit(server.current.fileOf(`${run.datasetUrl}/shard.00001.mds`));
    expect(differences(await audit())).toEqual([
      `datasets: ${run.datasetUrl}/manifest.json shard.00001.mds does not match its digest`,
    ]);
  });

  it('a flipped bit in the weights, and in the base model’s', async () => {
    for (const { url } of [run.model, run.base])
      await flipBit(server.current.fileOf(`${url}/model.safetensors`));
    expect(differences(await audit())).toEqual([
      expect.stringMatching(/^models: .*export.* model\.safetensors: bytes 0 to 349 do not match/),
      expect.stringMatching(/^models: .*models\/base@0 model\.safetensors: bytes 0 to 599 do not match/),
    ]);
  });

  it.each(['full', 'quick'] as const)(
    'a shard that is cut short, and one that is gone (%s)',
    async (level) => {
      await truncateFile(server.current.fileOf(`${run.datasetUrl}/shard.00000.mds`));
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
      await appendFile(server.current.fileOf(`${url}/manifest.json`), ' ');
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
    const found = differences(await audit());
    expect(found).toHaveLength(2);
    expect(found[0]).toMatch(
      /^recipe: recipe\.json has the digest sha256:.*; record 1 of the ledger names sha256:/,
    );
    expect(found[1]).toMatch(/^recipe: owner\.json names the recipe sha256:/);
  });

  it('another dataset in a job’s spec', async () => {
    const spec = JSON.parse(new TextDecoder().decode((await store.get(stage().spec)).data)) as unknown;
    const text = JSON.stringify(spec).replace(
      /("dataset":\{"manifestUrl":"[^"]+","digest":"sha256:)[0-9a-f]{4}/,
      '$10000',
    );
    await store.put(stage().spec, new TextEncoder().encode(text));
    const found = differences(await audit());
    expect(found[0]).toMatch(
      /^inputs: stages\/03-stage-1\/spec\.json takes the dataset .* which the ledger does not know$/,
    );
  });

  it.each(['changed', 'removed'])('a record of the run’s chain that was %s', async (how) => {
    const url = ledgerRecordUrl(run.run.url, 8);
    await (how === 'removed' ? store.delete([url]) : edit(url, '"ann"', '"eve"'));
    const found = differences(await audit());
    expect(found[0]).toMatch(/^ledger: ledger\/000009\.json (follows|comes after a gap)/);
  });

  it('a stage’s chain rewritten and consistent in itself: by the seals in the run’s chain', async () => {
    await rewrite(run.training, 2, forged);
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
    await rm(server.current.fileOf(layout().ledger), { recursive: true });
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

  it('a claim that never led to a job is only noted', async () => {
    const { epoch } = await openAttempt(store, { stageUrl: run.stageUrl, owner: 'somebody' });
    await store.put(stage().attemptFile(epoch), Buffer.from('{}'));
    const found = await audit();
    expect(differences(found)).toEqual([]);
    expect(checkNamed(found, 'attempts').notes).toEqual([
      `${run.stageUrl}/attempts/0004 was claimed and never launched`,
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

  it('an attempt on other hardware is named, and is no difference', async () => {
    await edit(`${stage().attempts}/0003/outcome.json`, '"threads": 2', '"threads": 4');
    const found = await audit();
    expect(found.verdict).toBe('verified');
    expect(found.numerics[0]).toMatchObject({
      identical: false,
      differing: [{ epoch: 3, fields: ['threads: 4, not 2'] }],
    });
  });
});

describe('the Temporal history is compared while it is there', () => {
  const update: HistoryUpdate = {
    id: 'u1',
    name: 'retryStage',
    actor: 'ann',
    reason: 'new node',
    completed: true,
    where: `temporal:r/${RUN_ID}`,
  };
  const facts = (change: Partial<HistoryFacts> = {}): HistoryFacts => ({
    runIds: [RUN_ID],
    expired: [],
    appends: [
      { folder: null, tip: run.run.tip, where: `temporal:r/${RUN_ID}` },
      { folder: '03-stage-1', tip: run.training.tip, where: `temporal:r/03-stage-1/x` },
    ],
    updates: [update],
    children: ['01-curation', '03-stage-1', '04-evaluation'].map((folder) => ({
      folder,
      where: `temporal:r/${folder}/x`,
    })),
    statusTip: run.run.tip,
    ...change,
  });

  it('and agrees', async () => {
    const found = await audit('full', facts());
    expect(differences(found)).toEqual([]);
    expect(checkNamed(found, 'Temporal')).toMatchObject({
      state: 'verified',
      summary: 'the history of 1 run: 2 appends, 1 update, 3 stages, and the tip that the workflow keeps',
    });
  });

  it('a ledger that was rewritten as a whole, seals and all, is noticed by the tip in the workflow', async () => {
    await rewrite(run.run, 8, (record) => ({
      ...record,
      entry: action('retryStage', { from: 'head' }, 'eve'),
    }));
    expect(differences(await audit())).toEqual([]);
    const byStatus = differences(
      await audit('full', facts({ appends: [], updates: [{ ...update, actor: 'eve' }] })),
    );
    expect(byStatus).toEqual([
      expect.stringMatching(/^Temporal: ledger\/000014\.json was rewritten.*\(by the workflow’s status\)$/),
    ]);
    const byHistory = differences(await audit('full', facts({ statusTip: null })));
    expect(byHistory[0]).toMatch(
      /^Temporal: ledger\/000014\.json was rewritten.*\(by temporal:r\/0199-run\)$/,
    );
  });

  it('an update without a record, and a record without an update', async () => {
    const other = { ...update, id: 'u2', name: 'pause', reason: 'lunch' };
    expect(differences(await audit('full', facts({ updates: [other] })))).toEqual([
      `Temporal: temporal:r/${RUN_ID} accepted the update pause of ann (lunch), id u2; the ledger has no record of it`,
      'Temporal: ledger/000008.json records retryStage by ann; no history has such an update',
    ]);
  });

  it('an update that is still being answered may have no record yet', async () => {
    const other = { ...update, id: 'u2', name: 'pause', completed: false };
    expect(differences(await audit('full', facts({ updates: [update, other] })))).toEqual([]);
  });

  it('a stage without a record, and a record without a stage', async () => {
    const children = ['01-curation', '03-stage-1', '06-stage-2'].map((folder) => ({
      folder,
      where: `temporal:r/${folder}/x`,
    }));
    expect(differences(await audit('full', facts({ children })))).toEqual([
      'Temporal: temporal:r/06-stage-2/x started the stage 06-stage-2; the ledger has no record of it',
      'Temporal: ledger/000010.json records the start of 04-evaluation; no history has started it',
    ]);
  });

  it('records of a workflow run that the server does not know', async () => {
    expect(
      differences(await audit('full', facts({ runIds: ['another'], appends: [], updates: [update] }))),
    ).toEqual([`Temporal: ledger has records of the workflow run ${RUN_ID}, which the server does not know`]);
  });

  it('what has expired is not missed, and said', async () => {
    const gone = facts({
      runIds: [],
      expired: [RUN_ID],
      appends: [],
      updates: [],
      children: [],
      statusTip: null,
    });
    const found = await audit('full', gone);
    expect(found.verdict).toBe('verified');
    expect(checkNamed(found, 'Temporal')).toMatchObject({
      state: 'not-checked',
      summary: 'the history has expired: audited from the object store alone',
    });
    const half = await audit(
      'full',
      facts({ runIds: ['second'], expired: [RUN_ID], updates: [], children: [], appends: [] }),
    );
    expect(differences(half)).toEqual([]);
    expect(checkNamed(half, 'Temporal').notes).toEqual([`the history of run ${RUN_ID} has expired`]);
  });
});

describe('what is no finding about the run is no difference', () => {
  it('a prefix without a run is said to be one', async () => {
    run = { ...run, runUrl: `${freshPrefix()}/runs/none` };
    await expect(audit()).rejects.toThrow(NoSuchRunError);
  });

  it('a store in trouble is an error', async () => {
    proxy = await startFaultyProxy(server.current.endpoint, ({ path }) =>
      path.includes('/shard.') ? 503 : 'pass',
    );
    store = server.current.connect({ endpoint: proxy.endpoint, maxAttempts: 1 });
    await expect(audit()).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('what a person reads', () => {
  const text = async (): Promise<string[]> =>
    auditLines(await audit(), { all: false, width: 200 }).map((line) => line.trim().replace(/\s+/g, ' '));

  it('says who did what, when and why, and ends with the verdict', async () => {
    const lines = await text();
    expect(lines).toContain('● 23:53:20 operator retryStage {"from":"head"} by ann (asserted): new node');
    expect(lines).toContain(
      '‖ 23:52:41 03-stage-1 parked: hang: 0 relaunches without progress are allowed, and used up',
    );
    expect(lines.join('\n')).toMatch(
      /✗ 23:51:01 03-stage-1 attempt 2 from 00000020-0001-\w+: hang after 1 min 40 s · at step 25/,
    );
    expect(lines).toContain('✓ 03-stage-1 identical (2 attempts); 1 attempt left none');
    expect(lines.at(-1)).toBe('✓ Verified: nothing differs. Not checked: Temporal.');
  });

  it('lists every difference under its check', async () => {
    await flipBit(server.current.fileOf(`${run.datasetUrl}/shard.00001.mds`));
    const lines = await text();
    const at = lines.findIndex((line) => line.startsWith('✗ datasets'));
    expect(lines.slice(at + 1, at + 3)).toEqual([
      `${run.datasetUrl}/manifest.json`,
      'shard.00001.mds does not match its digest',
    ]);
    expect(lines.at(-1)).toMatch(/^✗ 1 difference: this run is not what its ledger says\./);
  });
});

function total(seconds: Readonly<Record<string, number>> | undefined): number {
  return Object.values(seconds ?? {}).reduce((sum, value) => sum + value, 0);
}
