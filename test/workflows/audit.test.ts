import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttemptEnd, RunAttemptInput } from '../../activities/attempt/types.js';
import { createLedgerActivities } from '../../activities/ledger/index.js';
import { checkChains, checkSeals } from '../../src/audit/chains.js';
import { recordsOf } from '../../src/audit/gathered.js';
import type { GatheredRun } from '../../src/audit/gathered.js';
import { checkHistory } from '../../src/audit/history.js';
import type { HistoryFacts } from '../../src/audit/history.js';
import { readRun } from '../../src/audit/read-run.js';
import { readHistory } from '../../src/audit/temporal.js';
import { decodeRecord, encodeRecord, recordDigest } from '../../src/domain/ledger/chain.js';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { ledgerRecordUrl, rootLayout, runLayout, stageLayout } from '../../src/contracts/layout.js';
import { appendRecord, readChain } from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { approveUpdate, pauseUpdate, resumeUpdate, statusQuery } from '../../workflows/messages.js';
import type { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { TEST_BUCKET, startS3Server } from '../support/s3-server.js';
import type { TestS3 } from '../support/s3-server.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

let environment: TestWorkflowEnvironment;
let s3: TestS3;
let store: ObjectStore;

beforeAll(async () => {
  [environment, s3] = await Promise.all([startServer(), startS3Server()]);
  store = s3.connect();
}, 120_000);

afterAll(async () => {
  await environment.teardown();
  await s3.stop();
});

const ROOT = `s3://${TEST_BUCKET}/dev`;
const STAGE = '04-stage-1';
const ann = { actor: 'ann', reason: 'a look at the loss' };

/** Fake jobs, and a real ledger of them and of the run. */
class RecordedActivities extends FakeActivities {
  override get activities() {
    const fakes = super.activities;
    return {
      ...fakes,
      ...createLedgerActivities({ store }),
      prepareRun: async (input: Parameters<typeof fakes.prepareRun>[0]) => ({
        ...(await fakes.prepareRun(input)),
        rootUrl: ROOT,
        runUrl: rootLayout(ROOT).run(input.run),
      }),
      runAttempt: (input: RunAttemptInput) => recorded(input, () => fakes.runAttempt(input)),
    };
  }
}

async function recorded(input: RunAttemptInput, run: () => Promise<AttemptEnd>): Promise<AttemptEnd> {
  const opened = await append(input, input.ledger, 'opened', {
    type: 'attempt-opened',
    epoch: 1,
    job: input.owner,
    from: null,
    previousOwner: '',
    why: input.why,
  });
  const end = await run();
  const ledger = await append(input, opened, 'ended', {
    type: 'stage-adopted',
    why: end.state,
    digest: `sha256:${'0'.repeat(64)}`,
  });
  return { ...end, ledger };
}

async function append(
  { owner, spec }: RunAttemptInput,
  after: LedgerTip,
  what: string,
  entry: LedgerEntry,
): Promise<LedgerTip> {
  const chainUrl = stageLayout(spec.stageUrl).ledger;
  const { index, digest } = await appendRecord(store, chainUrl, { id: `${owner}#${what}`, after, entry });
  return { records: index, tip: digest };
}

type Run = WorkflowHandle<typeof recipe>;

/** Starts a run on real workflow code, a real server and a real ledger. */
async function withRun(
  fakes: RecordedActivities,
  body: (handle: Run) => Promise<void>,
  input: object = TINY_SMOKE,
): Promise<void> {
  await withWorker(environment, fakes.activities, async () => {
    const workflowId = `audited-${randomUUID()}`;
    const options = { taskQueue: TASK_QUEUE, workflowId, args: [input] as [object] };
    const handle = await environment.client.workflow.start<typeof recipe>(WORKFLOWS.recipe.name, options);
    try {
      await body(handle);
    } finally {
      await handle.terminate().catch(() => undefined);
    }
  });
}

async function inState(handle: Run, state: string): Promise<void> {
  while ((await handle.query(statusQuery)).state !== state) await sleep(50);
}

interface Compared {
  readonly facts: HistoryFacts;
  readonly gathered: GatheredRun;
  /** Of the comparison of both. */
  readonly differences: readonly string[];
}

/** Histories first, then the ledger, as an audit does it. */
async function compare(run: string): Promise<Compared> {
  const facts = await readHistory(environment.client, run, []);
  const gathered = await readRun(store, runUrl(run));
  return {
    facts,
    gathered,
    differences: checkHistory(gathered, facts).differences.map(({ message }) => message),
  };
}

const runUrl = (run: string): string => rootLayout(ROOT).run(run);

/** Does the work with a run that waits at the gate before a stage. */
function withGatedRun(stage: string, work: (handle: Run) => Promise<void>): Promise<void> {
  const gated = { ...TINY_SMOKE, execution: { approvals: [stage] } };
  return withRun(
    new RecordedActivities(),
    async (handle) => {
      await inState(handle, 'waiting');
      await work(handle);
    },
    gated,
  );
}

describe('an audit reads the histories of a run and of its stages', () => {
  it('and finds in the ledger what the workflows were told: appends, updates, stages, the tip', async () => {
    await withGatedRun('stage-1', async (handle) => {
      await handle.executeUpdate(pauseUpdate, { args: [ann] });
      await handle.executeUpdate(resumeUpdate, { args: [ann] });
      await handle.executeUpdate(approveUpdate, { args: [{ ...ann, stage: 'stage-1' }] });
      const refused = handle.executeUpdate(approveUpdate, { args: [{ ...ann, stage: 'stage-9' }] });
      await expect(refused).rejects.toThrow();
      await handle.result();
      const { facts, differences } = await compare(handle.workflowId);
      expect(differences).toEqual([]);
      const chain = await readChain(store, runLayout(runUrl(handle.workflowId)).ledger);
      const ofRun = facts.appends.filter(({ folder }) => folder === null);
      expect(ofRun.map(({ tip }) => tip.records)).toEqual(chain.map((_, index) => index + 1));
      expect(facts.statusTip).toEqual(ofRun.at(-1)?.tip);
      expect(facts.updates.map(({ name, actor, completed }) => [name, actor, completed])).toEqual([
        ['pause', 'ann', true],
        ['resume', 'ann', true],
        ['approve', 'ann', true],
      ]);
      expect(facts.children.map(({ folder }) => folder)).toEqual([
        '01-curation',
        '02-base-evaluation',
        STAGE,
        '06-stage-2',
        '07-sft',
        '08-evaluation',
      ]);
      expect(facts.appends.filter(({ folder }) => folder === STAGE)).toHaveLength(1);
    });
  });

  it('through every run that a stage continued as', async () => {
    const fakes = new RecordedActivities();
    const preempted = { class: 'preempted' as const, signature: 'sigterm', progressed: true };
    fakes.ends.set(
      STAGE,
      Array.from({ length: 305 }, () => preempted),
    );
    await withRun(fakes, async (handle) => {
      await handle.result();
      const { facts, differences } = await compare(handle.workflowId);
      expect(differences).toEqual([]);
      const ofStage = facts.appends.filter(({ folder }) => folder === STAGE);
      expect(ofStage).toHaveLength(306);
      expect(new Set(ofStage.map(({ where }) => where)).size).toBe(2);
      expect(ofStage.at(-1)?.tip.records).toBe(612);
    });
  });

  it('after a reset, in which the ledger goes on', async () => {
    await withGatedRun('stage-2', async (handle) => {
      const again = await reset(handle);
      await inState(again, 'waiting');
      await again.executeUpdate(approveUpdate, { args: [{ ...ann, stage: 'stage-2' }] });
      await again.result();
      const { facts, gathered, differences } = await compare(handle.workflowId);
      expect(differences).toEqual([]);
      expect(facts.runIds).toHaveLength(2);
      expect(recordsOf(gathered.chain, 'stage-started').length).toBeGreaterThan(9);
      const { runId } = await again.describe();
      expect(recordsOf(gathered.chain, 'run-reset').map(({ entry }) => entry)).toEqual([
        { type: 'run-reset', runId, remembers: expect.any(Number) as number, why: 'a test' },
      ]);
    });
  });

  it('after two resets, one of them to before the ledger was begun: each is told once', async () => {
    await withGatedRun('stage-1', async (handle) => {
      const second = await reset(handle, 0);
      await inState(second, 'waiting');
      const third = await reset(second, -1);
      await inState(third, 'waiting');
      await third.executeUpdate(approveUpdate, { args: [{ ...ann, stage: 'stage-1' }] });
      await third.result();
      const { gathered, differences } = await compare(handle.workflowId);
      expect([differences, checkChains(gathered).differences]).toEqual([[], []]);
      const { runId: secondId } = await second.describe();
      const { runId: thirdId } = await third.describe();
      const resets = recordsOf(gathered.chain, 'run-reset').map(({ entry }) => entry);
      expect(resets.map(({ runId, remembers }) => [runId, remembers > 0])).toEqual([
        [secondId, false],
        [thirdId, true],
      ]);
      // What the second run did first is behind the record of its reset.
      const order = gathered.chain.links.map(({ record }) => record?.entry.type);
      expect(order[order.indexOf('run-reset') + 1]).toBe('run-opened');
    });
  });
});

describe('a run that is cancelled', () => {
  it('seals the chain of the stage that was under way, with the end of its attempt', async () => {
    const fakes = new RecordedActivities();
    fakes.ends.set(STAGE, ['until-stopped']);
    await withRun(fakes, async (handle) => {
      while (fakes.attempts.at(-1)?.folder !== STAGE) await sleep(20);
      await handle.cancel();
      await expect(handle.result()).rejects.toThrow();
      const { gathered, differences } = await compare(handle.workflowId);
      expect(differences).toEqual([]);
      const chain = gathered.stages.find(({ folder }) => folder === STAGE)?.chain;
      const ended = recordsOf(gathered.chain, 'stage-ended').at(-1)?.entry;
      expect(ended).toMatchObject({ folder: STAGE, result: 'cancelled', chain: chain?.tip });
      expect(chain?.tip.records).toBe(2);
      expect(checkSeals(gathered)).toMatchObject({ state: 'verified', notes: [] });
    });
  });
});

describe('a ledger that was rewritten as a whole', () => {
  it('is consistent in itself, and not what the workflow was told', async () => {
    await withRun(new RecordedActivities(), async (handle) => {
      await handle.result();
      await rewriteFrom(runLayout(runUrl(handle.workflowId)).ledger, 2);
      const { differences, gathered } = await compare(handle.workflowId);
      expect(checkChains(gathered).differences).toEqual([]);
      expect(differences.length).toBeGreaterThan(1);
      for (const message of differences) expect(message).toContain('was rewritten');
    });
  });
});

describe('a record that was forged behind what the workflow wrote last', () => {
  it.each([randomUUID(), 'no-run-id', '01993c5e-dead-7000-8000-00000000000g'])(
    'is found, whichever workflow run it is said to be of: %s',
    async (runId) => {
      await withRun(new RecordedActivities(), async (handle) => {
        await handle.result();
        const { workflowId } = handle;
        const chainUrl = runLayout(runUrl(workflowId)).ledger;
        const forged = { type: 'run-ended', state: 'completed', why: 'forged' } as const;
        const id = `default/${workflowId}/${runId}#1`;
        const after = { records: 0, tip: null };
        const { index } = await appendRecord(store, chainUrl, { id, after, entry: forged });
        const { runId: own } = await handle.describe();
        const facts = await readHistory(environment.client, workflowId, [own, runId]);
        expect(facts).toMatchObject({ runIds: [own], unknown: [runId], newest: { runId: own } });
        const { state, differences } = checkHistory(await readRun(store, runUrl(workflowId)), facts);
        expect(state).toBe('different');
        expect(differences.map(({ message }) => message)).toEqual([
          `stands behind record ${index - 1}, the last that the workflow wrote, and is by ${runId}`,
        ]);
      });
    },
  );

  it('is nothing that a server tells of which knows no such run', async () => {
    const run = `unknown-${randomUUID()}`;
    const facts = await readHistory(environment.client, run, [randomUUID()]);
    expect(facts).toMatchObject({ runIds: [], newest: null, statusTip: null, appends: [] });
  });
});

/** Resets a run to one of its workflow tasks. */
async function reset(handle: Run, to = 1): Promise<Run> {
  const { runId } = await handle.describe();
  const { events } = await handle.fetchHistory();
  const tasks = (events ?? []).filter((event) => event.workflowTaskCompletedEventAttributes);
  const { namespace } = environment.client.options;
  const answer = await environment.client.workflowService.resetWorkflowExecution({
    namespace,
    workflowExecution: { workflowId: handle.workflowId, runId },
    reason: 'a test',
    requestId: randomUUID(),
    workflowTaskFinishEventId: tasks.at(to)?.eventId ?? null,
  });
  return environment.client.workflow.getHandle<typeof recipe>(handle.workflowId, answer.runId);
}

async function rewriteFrom(chainUrl: string, from: number): Promise<void> {
  const objects = await readChain(store, chainUrl);
  let previous: string | null = null;
  for (const [position, { bytes }] of objects.entries()) {
    const record = decodeRecord(bytes);
    if (typeof record === 'string') throw new Error(record);
    const changed = position + 1 < from ? record : { ...record, previous, at: '2026-01-01T00:00:00.000Z' };
    const written = encodeRecord(changed);
    await store.put(ledgerRecordUrl(chainUrl, position + 1), written);
    previous = recordDigest(written);
  }
}
