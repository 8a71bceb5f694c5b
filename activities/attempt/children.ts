/** What became of a stage's workflow that its run can't wait for any more, and of the attempts that it made. */
import { Context } from '@temporalio/activity';
import { commitIdSchema } from '../../src/contracts/index.js';
import { checkChain } from '../../src/domain/ledger/chain.js';
import { hasProgressed, recordedSamples } from '../../src/domain/attempt/facts.js';
import { FAILURE_CLASSES } from '../../src/domain/attempt/failure-class.js';
import { boundedVerdict } from '../../src/domain/attempt/verdict.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { stageLayout } from '../../src/contracts/layout.js';
import { readChain } from '../../src/store/ledger.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { describeWorkflow } from '../../src/temporal/workflow-state.js';
import { heldSecondsOf } from './figures.js';
import type { EndedAttempt } from './types.js';
import { heartbeating } from '../lib/heartbeating.js';

/** A child that is waited for, and its first workflow run. */
export interface AwaitedChild {
  readonly workflowId: string;
  /** Absent: the newest. */
  readonly runId?: string | undefined;
}

/** What the Temporal server knows of a child. */
export interface ChildState {
  /** The asking workflow run. */
  readonly by: string;
  /** Its status in Temporal's words, in lower case. */
  readonly status: string;
}

/** An attempt that has ended, as its stage's ledger tells of it. */
export type PastAttempt = Pick<
  EndedAttempt,
  'epoch' | 'class' | 'message' | 'signature' | 'progressed' | 'step' | 'node' | 'wallSeconds' | 'heldSeconds'
>;

/** What a stage's ledger says of its attempts. */
export interface StageHistory {
  /** Attempts begun. */
  readonly begun: number;
  /** Those that have ended without a result, oldest first; of very many the newest. */
  readonly ended: readonly PastAttempt[];
  readonly ledger: LedgerTip;
}

/** Attempts that are told at most: the policy looks at fewer. */
const MOST_TOLD = 300;

/** Checkpoints that are listed at most. */
const MOST_CHECKPOINTS = 64;

/** The activities of this file. */
export type ChildActivities = ReturnType<typeof createChildActivities>;

/** Creates the activities. */
export function createChildActivities({ store }: { readonly store: ObjectStore }) {
  return {
    /** What became of a child, which a workflow run that a reset has made can't know. */
    childState: ({ workflowId, runId }: AwaitedChild): Promise<ChildState> =>
      heartbeating(async () => {
        const { client, info } = Context.current();
        const by = info.workflowExecution?.runId ?? '';
        const described = await describeWorkflow(client, workflowId, runId);
        return {
          status: described?.status.name.toLowerCase() ?? 'not found',
          by,
        };
      }),

    /** Ids of the complete checkpoints that a stage has in the store, newest first. */
    readCheckpoints: ({ stageUrl }: { readonly stageUrl: string }): Promise<string[]> =>
      heartbeating(() => readCheckpoints(store, stageUrl)),

    /** The attempts that a stage has made behind one record of its ledger. */
    stageHistory: ({ stageUrl, after }: { readonly stageUrl: string; readonly after: number }) =>
      heartbeating(() => stageHistory(store, stageUrl, after)),
  };
}

/** Whatever `HEAD` says, which may be what is broken: a checkpoint is complete once it has its manifest. */
async function readCheckpoints(store: ObjectStore, stageUrl: string): Promise<string[]> {
  const layout = stageLayout(stageUrl);
  const complete: string[] = [];
  for (const name of (await store.folders(layout.checkpoints)).sort().reverse()) {
    const id = commitIdSchema.safeParse(name);
    if (id.success && (await store.exists(layout.manifest(id.data)))) complete.push(id.data);
    if (complete.length === MOST_CHECKPOINTS) break;
  }
  return complete;
}

async function stageHistory(store: ObjectStore, stageUrl: string, after: number): Promise<StageHistory> {
  const { links, tip } = checkChain(await readChain(store, stageLayout(stageUrl).ledger));
  const entries = links.flatMap(({ index, record }) =>
    index > after && record !== null ? [record.entry] : [],
  );
  const ended = entries.flatMap((entry): PastAttempt[] => {
    if (entry.type !== 'attempt-ended') return [];
    const failureClass = FAILURE_CLASSES.find((one) => one === entry.class);
    if (failureClass === undefined) return [];
    const { epoch, commits, step, tokens, node, wallSeconds } = entry;
    // Earlier versions recorded whatever a job said.
    const { message, signature } = boundedVerdict(entry);
    const heldSeconds = heldSecondsOf(entry);
    const progressed = hasProgressed(commits, recordedSamples({ step, tokens }));
    return [
      { epoch, class: failureClass, message, signature, progressed, step, node, wallSeconds, heldSeconds },
    ];
  });
  const begun = entries.filter(({ type }) => type === 'attempt-opened').length;
  return { begun, ended: ended.slice(-MOST_TOLD), ledger: tip };
}
