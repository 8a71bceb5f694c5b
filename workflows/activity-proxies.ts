/** Activities as the workflows call them: timeouts and retries, each with its reason. */
import { ActivityCancellationType, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { AttemptActivities } from '../activities/attempt/index.js';
import type { ChildActivities } from '../activities/attempt/children.js';
import type { CurateActivities } from '../activities/curate.js';
import type { LedgerActivities } from '../activities/ledger/index.js';
import type { PrepareActivities } from '../activities/prepare/index.js';
import type { ReportActivities } from '../activities/report.js';
import type { RopeBumpActivities } from '../activities/rope-bump.js';

/**
 * Short work on the object store: retried through an outage of hours, quickly at first, and soon after a worker's death. How often
 * at most is for the activity to say, which knows what has passed and how its tries have ended (`activities/lib`).
 */
const storeOptions = {
  startToCloseTimeout: '1 hour',
  heartbeatTimeout: '5s',
  retry: { initialInterval: '200ms', backoffCoefficient: 2, maximumInterval: '30s' },
} as const;

export const { prepareRun } = proxyActivities<PrepareActivities>(storeOptions);
export const { bumpRopeBase } = proxyActivities<RopeBumpActivities>(storeOptions);
/**
 * One small conditional write: local, because it is as quick as a workflow task and costs the history one event. A few quick tries:
 * one that lasts keeps its workflow task alive, at several events a minute.
 */
export const { appendToLedger } = proxyLocalActivities<LedgerActivities>({
  startToCloseTimeout: '10s',
  retry: { initialInterval: '200ms', backoffCoefficient: 2, maximumAttempts: 3 },
});
/**
 * The same where that was in vain: tried by the server, which costs no events, and shows what each try has said. Without a limit,
 * whatever its tries end with: a run's record is not given up.
 */
export const { appendToLedger: appendToLedgerLater } = proxyActivities<LedgerActivities>({
  startToCloseTimeout: '1 minute',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
});
export const { recordedActions } = proxyActivities<LedgerActivities>(storeOptions);
export const { childState, stageHistory, readCheckpoints } = proxyActivities<ChildActivities>(storeOptions);
/** As long as an operator waits for an answer. */
export const { readCheckpoints: readCheckpointsSoon } = proxyActivities<ChildActivities>({
  ...storeOptions,
  scheduleToCloseTimeout: '15s',
});
/** Stops jobs, which takes their grace: nothing of it waits for the store. */
export const { stopStageJobs } = proxyActivities<AttemptActivities>(storeOptions);
/** Reads everything a run has left, however long that takes. */
export const { writeReport } = proxyActivities<ReportActivities>(storeOptions);

/** Hours of reading and tokenising, that heartbeat all along and go on where finished datasets end. */
export const { curateDataset } = proxyActivities<CurateActivities>({
  startToCloseTimeout: '7 days',
  heartbeatTimeout: '30s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1 minute' },
});

/**
 * One attempt of a job, however many workers come and go meanwhile. It returns what became of the job and throws only for
 * trouble of the control plane, so a retry means: attach to the job again; what no retry mends it throws as final. The heartbeat
 * timeout is the time a dead worker's job is without an observer.
 */
export const { runAttempt } = proxyActivities<AttemptActivities>({
  startToCloseTimeout: '60 days',
  heartbeatTimeout: '5s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '100ms', backoffCoefficient: 2, maximumInterval: '10s' },
});
