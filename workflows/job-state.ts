/** What a stage's workflow carries from one of its runs to the next (continue-as-new): plain JSON, versioned, parsed. */
import { z } from 'zod';
import { stepWindowSchema } from '../src/contracts/attempt.js';
import { allowanceProblem, reactTo, relevantAttempts } from '../src/domain/attempt/policy.js';
import type { AttemptBudgets, CommitAllowance, Reaction } from '../src/domain/attempt/policy.js';
import { FAILURES, FAILURE_CLASSES } from '../src/domain/attempt/failure-class.js';
import { EMPTY_CHAIN } from '../src/domain/ledger/chain.js';
import { retryFromSchema } from '../src/domain/run/operator-actions.js';
import { ledgerTipSchema } from '../src/domain/run/status.js';
import { firstLine } from '../src/domain/lib/text.js';
import { watchdogLearnedSchema } from '../src/domain/attempt/watchdog.js';

const attemptRecordSchema = z.strictObject({
  epoch: z.int().positive(),
  class: z.enum(FAILURE_CLASSES),
  signature: z.string(),
  progressed: z.boolean(),
  step: z.int().nonnegative(),
  node: z.string().nullable(),
});

/** State of a stage between two attempts. */
export const jobStateSchema = z.strictObject({
  schema: z.literal('longhaul.job-state/1'),
  attempts: z.int().nonnegative().describe('Attempts so far, over all runs of the workflow'),
  records: z.array(attemptRecordSchema).describe('Those that the policy still looks at'),
  wallSeconds: z.number().nonnegative().describe('Of all attempts, without their waits for a place'),
  sinceCommit: z
    .strictObject({ attempts: z.int().nonnegative(), wallSeconds: z.number().nonnegative() })
    .describe('Used up since the newest commit or sample'),
  interruptions: z.int().nonnegative().describe('Attempts that the world ended, not the job'),
  skipSteps: z.array(stepWindowSchema).describe('Data windows left out since NaN or a loss spike'),
  learned: watchdogLearnedSchema,
  why: z.string().describe('Why there is a next attempt'),
  from: retryFromSchema.describe('Where the next attempt begins'),
  ledger: ledgerTipSchema,
  unrecorded: z
    .boolean()
    .optional()
    .describe('Whether the stage’s ledger may lack the end of an attempt. Absent: it lacks none'),
});
export type JobState = z.infer<typeof jobStateSchema>;

/** An end of an attempt, as far as the stage's state cares. */
export type TakenEnd = z.infer<typeof attemptRecordSchema> & {
  readonly message: string;
  /** From the claim to the job's end, seconds. */
  readonly wallSeconds: number;
  /**
   * Of those, the seconds in which it may have held devices: not while it waited for a place. Absent: an end of an earlier version.
   * That it is a field of its own lets histories of that version decide again as they did.
   */
  readonly heldSeconds?: number;
};

/** What the state of a stage depends on beside its attempts. */
export interface TakingSettings {
  readonly trains: boolean;
  /** Steps that are left out after NaN or a loss spike. */
  readonly skipSteps: number;
}

/** The state after an attempt that has ended without a result. */
export function afterAttempt(state: JobState, end: TakenEnd, settings: TakingSettings): JobState {
  const { epoch, class: failureClass, signature, progressed, step, node } = end;
  const heldSeconds = end.heldSeconds ?? end.wallSeconds;
  const record = { epoch, class: failureClass, signature, progressed, step, node };
  return {
    ...state,
    attempts: state.attempts + 1,
    records: relevantAttempts([...state.records, record]),
    wallSeconds: state.wallSeconds + heldSeconds,
    sinceCommit: progressed
      ? NEW_JOB.sinceCommit
      : {
          attempts: state.sinceCommit.attempts + 1,
          wallSeconds: state.sinceCommit.wallSeconds + heldSeconds,
        },
    interruptions: state.interruptions + (FAILURES[failureClass].isInterruption ? 1 : 0),
    skipSteps: [...state.skipSteps, ...newSkips(end, settings)],
    why: `after ${failureClass}: ${firstLine(end.message)}`,
    from: 'head',
  };
}

/** After NaN or a spike the data that broke the loss is left out, from the step after the last good one on. */
function newSkips(
  { class: failureClass, step }: TakenEnd,
  { trains, skipSteps }: TakingSettings,
): JobState['skipSteps'] {
  return failureClass === 'numerics' && trains ? [{ first: step + 1, last: step + skipSteps }] : [];
}

/** What comes next for a stage in this state: another attempt, or, when its budgets are used up, an operator. */
export function nextFor(
  { records, sinceCommit }: JobState,
  budgets: AttemptBudgets,
  { gpus, withoutCommit }: { readonly gpus: number; readonly withoutCommit: CommitAllowance },
): Reaction {
  const used = { attempts: sinceCommit.attempts, gpuHours: (sinceCommit.wallSeconds * gpus) / 3600 };
  const why = allowanceProblem(used, withoutCommit);
  return why === null ? reactTo(records, budgets) : { kind: 'park', why };
}

/** Before the first attempt. */
export const NEW_JOB: JobState = {
  schema: 'longhaul.job-state/1',
  attempts: 0,
  records: [],
  wallSeconds: 0,
  sinceCommit: { attempts: 0, wallSeconds: 0 },
  interruptions: 0,
  skipSteps: [],
  learned: {},
  why: 'the first attempt',
  from: 'head',
  ledger: EMPTY_CHAIN,
};
