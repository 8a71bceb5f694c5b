/** Attempts of one stage's job until it is done: claim, run, react. Shared by training and evaluation. */
import { ApplicationFailure, sleep, workflowInfo } from '@temporalio/workflow';
import type { AttemptEnd, FinishedOutcome } from '../activities/attempt-types.js';
import type { JobSpec } from '../src/contracts/job-spec.js';
import { reactTo } from '../src/domain/attempt-policy.js';
import type { AttemptBudgets, AttemptRecord } from '../src/domain/attempt-policy.js';
import { openAttempt, runAttempt } from './activity-proxies.js';

/** A stage's job and how it may be attempted. */
export interface JobInput {
  /** Object-store prefix of the run. */
  readonly runUrl: string;
  readonly run: string;
  /** Stage folder, `<nn-name>`. */
  readonly folder: string;
  readonly spec: JobSpec;
  readonly budgets: AttemptBudgets;
  /** Between SIGTERM and SIGKILL, seconds. */
  readonly graceSeconds: number;
}

/** A finished job. */
export interface JobResult {
  readonly outcome: FinishedOutcome;
  /** Whether a verified result of the same spec was there already. */
  readonly adopted: boolean;
  readonly attempts: readonly AttemptRecord[];
}

/**
 * Runs attempts until one is done.
 * @throws ApplicationFailure whose type is the failure class, when the budget of that class is used up.
 */
export async function runJob(job: JobInput): Promise<JobResult> {
  const attempts: AttemptRecord[] = [];
  const { namespace, workflowId, runId } = workflowInfo();
  for (;;) {
    const owner = `${namespace}/${workflowId}/${runId}/${attempts.length + 1}`;
    const claim = await openAttempt({ spec: job.spec, owner });
    if (claim.state === 'adopted') return { outcome: claim.outcome, adopted: true, attempts };
    const { run, folder, spec, graceSeconds } = job;
    const end = await runAttempt({ run, folder, stageUrl: spec.stageUrl, epoch: claim.epoch, graceSeconds });
    if (end.state === 'done') return { outcome: end.outcome, adopted: false, attempts };
    attempts.push(recordOf(claim.epoch, end));
    const reaction = reactTo(attempts, job.budgets);
    if (reaction.kind === 'park') throw stageFailure(folder, end, reaction.why);
    if (reaction.waitSeconds > 0) await sleep(reaction.waitSeconds * 1000);
  }
}

function recordOf(epoch: number, end: Extract<AttemptEnd, { state: 'ended' }>): AttemptRecord {
  return { epoch, class: end.class, signature: end.signature, progressed: end.progressed };
}

function stageFailure(
  folder: string,
  end: Extract<AttemptEnd, { state: 'ended' }>,
  why: string,
): ApplicationFailure {
  const log = end.logTail.length === 0 ? '' : `\nLast lines of its log:\n${end.logTail.join('\n')}`;
  return ApplicationFailure.create({
    type: end.class,
    nonRetryable: true,
    message: `${folder}: ${end.message}\n${why}${log}`,
  });
}
