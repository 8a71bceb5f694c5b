import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NoSuchRunError } from '../../src/audit/audit.js';
import type { Audit } from '../../src/audit/audit-data.js';
import type { HistoryFacts, HistoryUpdate } from '../../src/audit/history.js';
import { auditLines } from '../../src/audit/text.js';
import { startFaultyProxy } from '../support/faulty-proxy.js';
import type { FaultyProxy } from '../support/faulty-proxy.js';
import type { TestS3 } from '../support/s3-server.js';
import { NO_SERVER, checkNamed, useRunUnderAudit } from './audit-support.js';
import type { RunUnderAudit } from './audit-support.js';
import { RUN_ID, action } from './audited-run.js';
import type { AuditedRun } from './audited-run.js';
import { flipBit, freshPrefix } from './support.js';

const under = useRunUnderAudit();
let server: TestS3;
let run: AuditedRun;

beforeEach(() => {
  ({ server, run } = under.current);
});

const audit: RunUnderAudit['audit'] = (...args) => under.current.audit(...args);
const differences = (found: Audit): string[] => under.current.differences(found);
let proxy: FaultyProxy | undefined;

afterEach(async () => {
  await proxy?.stop();
  proxy = undefined;
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
    await under.current.rewrite(run.run, 8, (record) => ({
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
    await expect(audit('full', NO_SERVER, { runUrl: `${freshPrefix()}/runs/none` })).rejects.toThrow(
      NoSuchRunError,
    );
  });

  it('a store in trouble is an error', async () => {
    proxy = await startFaultyProxy(server.endpoint, ({ path }) => (path.includes('/shard.') ? 503 : 'pass'));
    const broken = server.connect({ endpoint: proxy.endpoint, maxAttempts: 1 });
    await expect(audit('full', NO_SERVER, { store: broken })).rejects.toMatchObject({ code: 'unavailable' });
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
    await flipBit(server.fileOf(`${run.datasetUrl}/shard.00001.mds`));
    const lines = await text();
    const at = lines.findIndex((line) => line.startsWith('✗ datasets'));
    expect(lines.slice(at + 1, at + 3)).toEqual([
      `${run.datasetUrl}/manifest.json`,
      'shard.00001.mds does not match its digest',
    ]);
    expect(lines.at(-1)).toMatch(/^✗ 1 difference: this run is not what its ledger says\./);
  });
});
