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
    namespace: 'default',
    runIds: [RUN_ID],
    unknown: [],
    newest: { runId: RUN_ID, status: 'COMPLETED' },
    attempts: ['03-stage-1/1', '03-stage-1/2', '03-stage-1/3', '04-evaluation/1'].map((attempt) => {
      const [folder = '', number = ''] = attempt.split('/');
      return { folder, owner: `default/r/${folder}/${RUN_ID}/${number}` };
    }),
    appends: [
      { folder: null, tip: run.run.tip, where: `temporal:r/${RUN_ID}` },
      { folder: '03-stage-1', tip: run.training.tip, where: `temporal:r/03-stage-1/x` },
      { folder: '04-evaluation', tip: run.evaluation.tip, where: `temporal:r/04-evaluation/x` },
    ],
    updates: [update],
    children: ['01-curation', '03-stage-1', '04-evaluation'].map((folder) => ({
      folder,
      where: `temporal:r/${folder}/x`,
    })),
    pauses: [],
    statusTip: run.run.tip,
    ...change,
  });

  it('and agrees', async () => {
    const found = await audit('full', facts());
    expect(differences(found)).toEqual([]);
    expect(checkNamed(found, 'Temporal')).toMatchObject({
      state: 'verified',
      summary: 'the history of 1 run: 3 appends, 1 update, 3 stages, and the tip that the workflow keeps',
    });
  });

  it('and tells who had a workflow paused by Temporal’s own means, which the ledger does not know', async () => {
    const pause = {
      by: 'kim',
      reason: 'a look',
      where: `temporal:r/${RUN_ID}`,
      at: '2026-01-01T00:00:00.000Z',
    };
    const found = await audit(
      'full',
      facts({ pauses: [true, false].map((begins) => ({ ...pause, begins })) }),
    );
    expect(differences(found)).toEqual([]);
    expect(checkNamed(found, 'Temporal').notes).toEqual([
      `2026-01-01T00:00:00.000Z: kim paused temporal:r/${RUN_ID} by Temporal’s own means (a look)`,
      `2026-01-01T00:00:00.000Z: kim unpaused temporal:r/${RUN_ID} by Temporal’s own means (a look)`,
    ]);
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
      /^Temporal: ledger\/000014\.json was rewritten.*\(by temporal:r\/01993c5e.*\)$/,
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

  it('what has expired is not missed, and said', async () => {
    const gone = facts({
      runIds: [],
      unknown: [RUN_ID],
      newest: null,
      appends: [],
      updates: [],
      children: [],
      statusTip: null,
    });
    const found = await audit('full', gone);
    expect(found.verdict).toBe('not-checked');
    expect(checkNamed(found, 'Temporal')).toMatchObject({
      state: 'not-checked',
      summary: 'the namespace default has no history of r (any more): audited from the object store alone',
    });
    const half = await audit(
      'full',
      facts({ runIds: ['second'], unknown: [RUN_ID], updates: [], children: [], attempts: [] }),
    );
    expect(differences(half)).toEqual([]);
    expect(checkNamed(half, 'Temporal').notes).toEqual([`the history of run ${RUN_ID} has expired`]);
  });

  it('another namespace than the one that has the workflow', async () => {
    expect(differences(await audit('full', facts({ namespace: 'other' })))).toEqual([
      'Temporal: ledger/000001.json says that the run is of the namespace default; its workflow is in other',
    ]);
  });
});

describe('nothing stands behind what a workflow wrote last', () => {
  const invented = '01993c5e-dead-7000-8000-000000000009';
  const known = (status: string, change: Partial<HistoryFacts> = {}): HistoryFacts => ({
    namespace: 'default',
    runIds: [RUN_ID],
    unknown: [],
    newest: { runId: RUN_ID, status },
    attempts: [],
    appends: [
      { folder: null, tip: run.run.tip, where: `temporal:r/${RUN_ID}` },
      { folder: '03-stage-1', tip: run.training.tip, where: 'temporal:r/03-stage-1/x' },
      { folder: '04-evaluation', tip: run.evaluation.tip, where: 'temporal:r/04-evaluation/x' },
    ],
    updates: [],
    pauses: [],
    children: [],
    statusTip: run.run.tip,
    ...change,
  });
  const temporal = (found: Audit): string[] =>
    differences(found).filter((one) => one.startsWith('Temporal: ') && one.includes('stands behind'));

  it.each(['COMPLETED', 'FAILED', 'TERMINATED', 'RUNNING'])(
    'no record of an invented workflow run (%s)',
    async (status) => {
      const facts = known(status, { unknown: [invented] });
      await run.run.add(500, action('pause'), `default/r/${invented}#1`);
      expect(temporal(await audit('full', facts))).toEqual([
        `Temporal: ledger/000015.json stands behind record 14, the last that the workflow wrote, and is by ${invented}`,
      ]);
    },
  );

  it.each(['COMPLETED', 'TERMINATED'])(
    'no record under the closed workflow’s own id (%s)',
    async (status) => {
      const facts = known(status);
      await run.run.add(500, action('pause'));
      expect(temporal(await audit('full', facts))).toHaveLength(1);
    },
  );

  it('no end of a stage in the janitor’s name that had ended', async () => {
    const facts = known('TERMINATED');
    const ended = { type: 'stage-ended', folder: '03-stage-1', result: 'cancelled' } as const;
    await run.run.add(
      500,
      { ...ended, why: 'the run was cut off', chain: run.training.tip, artifacts: [] },
      `default/r/${RUN_ID}#cut-03-stage-1`,
    );
    expect(temporal(await audit('full', facts))).toHaveLength(1);
  });

  it('the janitor’s record of a run that was cut is expected, and so is what an open workflow is about to be told', async () => {
    const cut = known('TERMINATED');
    const why = 'terminated by somebody; recorded by the janitor';
    await run.run.add(500, { type: 'run-ended', state: 'terminated', why }, `default/r/${RUN_ID}#cut`);
    expect(temporal(await audit('full', cut))).toEqual([]);
    expect(
      temporal(await audit('full', { ...cut, newest: { runId: RUN_ID, status: 'COMPLETED' } })),
    ).toHaveLength(1);
    expect(temporal(await audit('full', { ...cut, newest: { runId: RUN_ID, status: 'RUNNING' } }))).toEqual(
      [],
    );
  });

  it('no record in a stage’s chain of an attempt that its workflow never asked for', async () => {
    const facts = known('RUNNING');
    const adopted = { type: 'stage-adopted', why: 'forged', digest: run.model.digest } as const;
    await run.training.add(500, adopted, 'default/r/03-stage-1/eve/9#adopted');
    expect(temporal(await audit('full', facts))).toEqual([
      expect.stringContaining(
        'ledger/000007.json stands behind record 6, the last that the stage’s workflow was told of, and is by default/r/03-stage-1/eve/9',
      ),
    ]);
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
    expect(lines.at(-1)).toBe(
      '– Not verified: nothing differs, as far as was checked. Not checked: Temporal.',
    );
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
