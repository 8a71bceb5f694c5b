/** One attempt from its claim to its record in the ledger. */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkpointManifestSchema, commitIdSchema, outcomeSchema } from '../../src/contracts/index.js';
import type { Digest, Epoch, Outcome } from '../../src/contracts/index.js';
import { hasProgressed } from '../../src/domain/attempt/facts.js';
import { DONE, STOPPED_AS_ASKED, stopNote, verdictOf } from '../../src/domain/attempt/verdict.js';
import { failureClassOf } from '../../src/domain/attempt/failure-class.js';
import type { EntryOf, LedgerEntry } from '../../src/domain/ledger/records.js';
import { ProgressTracker } from '../../src/domain/run/progress.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { attemptLeft } from '../../src/store/anchors.js';
import { readOutcome } from '../../src/store/attempt-files.js';
import { checkpointRef, pinCheckpoint } from '../../src/store/checkpoints.js';
import { isStoreError } from '../../src/store/errors.js';
import { commitsOf, readHead } from '../../src/store/head.js';
import { partsOfCommitId, pathBelow, stageLayout } from '../../src/contracts/layout.js';
import { appendRecord } from '../../src/store/ledger.js';
import { stageKey } from '../../src/store/stage-key.js';
import { abortUploads } from '../../src/store/stale-uploads.js';
import { claimAttempt } from './claim.js';
import type { Claim } from './claim.js';
import { AttemptJob, LOG_LINES } from './job.js';
import type { JobEnd } from './job.js';
import { commitsMade, figuresOf, heldSecondsOf, spanByStore } from './figures.js';
import type { StoreSpan } from './figures.js';
import type {
  AttemptDependencies,
  AttemptEnd,
  EndedAttempt,
  FinishedOutcome,
  RunAttemptInput,
} from './types.js';
import { isCancelRequested, isFinal } from '../lib/cancellation.js';
import type { JobFate } from '../lib/cancellation.js';
import { refusing } from '../lib/failures.js';
import { recordMissingEnds } from '../janitor/orphan-record.js';
import { ProgressReporter } from './progress.js';
import { saveResult, shareResult } from './result.js';

/** How long a worker that hands over makes Temporal wait before the next one attaches. */
const HAND_OVER_DELAY = '20ms';
/** Between two tries of a cancelled activity, which Temporal doesn't try again. */
const OWN_RETRY_MS = 500;
/** What stops the job of a cancelled activity. */
const CANCELLED: JobFate = { kind: 'stop', why: 'cancelled' };

/** Makes one attempt, or goes on with one that another worker began. */
export class AttemptRun {
  readonly #context = Context.current();
  readonly #reporter: ProgressReporter;
  readonly #urls: ReturnType<typeof stageLayout>;
  readonly #key: Digest;
  #ledger: LedgerTip;
  /** What there is to give up, once a job may run. */
  #running: Running | null = null;

  constructor(
    private readonly deps: AttemptDependencies,
    private readonly input: RunAttemptInput,
  ) {
    this.#reporter = new ProgressReporter(this.#context, new ProgressTracker(1, null));
    this.#urls = stageLayout(input.spec.stageUrl);
    this.#key = stageKey(input.spec, deps.jobs.codeDigest);
    this.#ledger = input.ledger;
  }

  /**
   * Claims the next epoch, runs or adopts its job and watches it to its end.
   * @throws ApplicationFailure, to be retried, when another worker is to go on watching; not to be retried, of type
   * `user-error`, when the stage can't be attempted as asked, and as `refusing` does; CancelledFailure when the workflow has
   * cancelled it before there was a job.
   */
  async execute(): Promise<AttemptEnd> {
    this.#reporter.startHeartbeat();
    const over = new AbortController();
    try {
      await this.#reporter.look();
      const end = await Promise.race([this.#persistently(over.signal), this.#outOfTime(over.signal)]);
      await this.#reporter.end();
      return end;
    } catch (error) {
      // A stage that parks leaves no job behind; one that is retried attaches to it again.
      if (error instanceof ApplicationFailure && error.nonRetryable === true) await this.#giveUp(error);
      throw error;
    } finally {
      over.abort();
      this.#reporter.stopHeartbeat();
    }
  }

  /** What Temporal does for an activity that may be tried again, an activity that was cancelled does for itself. */
  async #persistently(over: AbortSignal): Promise<AttemptEnd> {
    for (;;) {
      try {
        return await refusing(() => this.#attempt());
      } catch (error) {
        if (isFinal(error) || !isCancelRequested(this.#context)) throw error;
        if (this.#running === null) throw new CancelledFailure('cancelled before it had a job');
        this.#context.log.warn('the end of a cancelled attempt is not known yet', { why: String(error) });
        await sleep(OWN_RETRY_MS, undefined, { signal: over });
      }
    }
  }

  /**
   * Once the workflow has cancelled it: the job is stopped, whatever else hangs; then the store has as long to answer as the job
   * had to save. After that the attempt ends without it.
   */
  async #outOfTime(over: AbortSignal): Promise<AttemptEnd> {
    await cancelRequested(this.#context, over);
    await this.#running?.job.stop(CANCELLED);
    await sleep(this.input.graceSeconds * 1000, undefined, { signal: over });
    const end = (await this.#running?.job.stop(CANCELLED)) ?? null;
    if (this.#running === null || end === null) throw new CancelledFailure('cancelled before its job began');
    return this.#endUnheard(this.#running, end);
  }

  async #attempt(): Promise<AttemptEnd> {
    if (this.#running !== null) return this.#watch(this.#running);
    const { store, backend } = this.deps;
    if (this.input.recordsEnds === true) await recordMissingEnds(store, backend, this.input.spec.stageUrl);
    const claim = await claimAttempt(store, this.input, this.#key);
    return claim.state === 'finished' ? this.#adopt(claim) : this.#run(claim);
  }

  /** Stops the job, if there is one, with the grace to save, and records the attempt's end as far as it is known. */
  async #giveUp({ type, message }: ApplicationFailure): Promise<void> {
    if (this.#running === null) return;
    const { claim, job } = this.#running;
    try {
      const end = await job.stop({ kind: 'refused' });
      if (end === null) return;
      const { outcome, byStore, ...made } = await this.#asFarAsAnswered(claim.epoch, job);
      const isDone = outcome !== null && outcome.result !== 'ended';
      const refused = { class: failureClassOf(type), message, signature: 'refused' };
      await this.#record('ended', {
        type: 'attempt-ended',
        epoch: claim.epoch,
        ...(isDone ? DONE : refused),
        ...figuresOf(claim, outcome, job.facts, end, byStore),
        ...made,
        note: isDone
          ? `it had its result, which could not be kept: ${message}`
          : 'its job was stopped: it could not be followed to its end',
      });
    } catch (error) {
      // The failure that matters is the first. A job whose lease nobody renews ends by itself.
      this.#context.log.warn('a refused attempt is without its end', { job: job.name, why: String(error) });
    }
  }

  /** What a refused attempt has made and left. Where the store doesn't answer that, what its events have told. */
  async #asFarAsAnswered(epoch: Epoch, job: AttemptJob): Promise<KnownEnd> {
    const { store } = this.deps;
    const { stageUrl } = this.input.spec;
    try {
      const outcome = await readOutcome(store, stageUrl, epoch).catch(nullIfInvalid);
      const { value: head } = await readHead(store, stageUrl);
      const evaluated = outcome?.result === 'evaluated';
      const left = await attemptLeft(store, { stageUrl, epoch, evaluated, events: job.eventDigests });
      const byStore = await spanByStore(store, stageUrl, epoch);
      return { outcome, byStore, commits: commitsMade(epoch, commitsOf(head), job.facts.commits), left };
    } catch (error) {
      this.#context.log.warn('what a refused attempt left is not known', { epoch, why: String(error) });
      return { outcome: null, byStore: null, commits: [...job.facts.commits] };
    }
  }

  async #adopt({ result, adopted, specDigest }: Extract<Claim, { state: 'finished' }>): Promise<AttemptEnd> {
    const digest = digestIn(result.outcome);
    const spec = { revision: this.input.specRevision, digest: specDigest };
    if (adopted !== null)
      await this.#record('adopted', { type: 'stage-adopted', why: adopted, digest, spec });
    return { state: 'done', ...result, adopted, ledger: this.#ledger };
  }

  async #run(claim: Claimed): Promise<AttemptEnd> {
    const { epoch, from } = claim;
    const { spec } = this.input;
    const tracker = new ProgressTracker(epoch, spec.kind === 'train' ? spec.data.steps : null, from);
    this.#reporter.tracker = tracker;
    void this.#dateStart(tracker, from);
    const job = new AttemptJob(this.deps, this.#context, this.input, epoch, this.#reporter);
    this.#running = { claim, job };
    return this.#watch(this.#running);
  }

  /** When the checkpoint was made that the attempt begins at. Only people want to know: nothing waits for it, nor fails by it. */
  async #dateStart(tracker: ProgressTracker, from: Claimed['from']): Promise<void> {
    if (from === null) return;
    try {
      const { value } = await this.deps.store.getJson(this.#urls.manifest(from.id), checkpointManifestSchema);
      tracker.dateCommit(from.id, value.createdAt);
    } catch (error) {
      this.#context.log.debug('the age of a checkpoint is not known', { id: from.id, why: String(error) });
    }
  }

  async #watch({ claim, job }: Running): Promise<AttemptEnd> {
    const { epoch } = claim;
    const { specRevision, why } = this.input;
    const opened: LedgerEntry = {
      type: 'attempt-opened',
      epoch,
      job: job.name,
      from: claim.from?.id ?? null,
      fromDigest: claim.from?.manifestDigest,
      attemptDigest: claim.attemptDigest,
      previousOwner: claim.previousOwner,
      why,
      spec: { revision: specRevision, digest: claim.specDigest },
    };
    // The claim stands: the record of it need not hold up the job's start.
    await Promise.all([job.submit(), this.#record('opened', opened)]);
    const end = await job.untilEnded(stopped);
    return this.#conclude(claim, job, end);
  }

  /** What the ended job amounts to. The outcome is read until the store answers: guessing would cost a finished stage. */
  async #conclude(claim: Claimed, job: AttemptJob, end: JobEnd): Promise<AttemptEnd> {
    const { epoch } = claim;
    await job.takeLastEvents();
    const url = this.#urls.outcome(epoch);
    const outcome = (await this.deps.store.findJson(url, outcomeSchema))?.value ?? null;
    const done = outcome !== null && outcome.result !== 'ended' ? outcome : null;
    if (done !== null) await this.#keep(done);
    const [{ value: head }] = await Promise.all([
      readHead(this.deps.store, this.input.spec.stageUrl),
      this.#abortUploads(epoch),
    ]);
    const commits = commitsMade(epoch, commitsOf(head), job.facts.commits);
    const left = await attemptLeft(this.deps.store, {
      stageUrl: this.input.spec.stageUrl,
      epoch,
      evaluated: done?.result === 'evaluated',
      events: job.eventDigests,
    });
    const logTail = await this.deps.backend.logs(job.name, LOG_LINES);
    const own = outcome?.result === 'ended' ? outcome : null;
    const { ended, stop } = end;
    const verdict = verdictOf({ ...ended, stop, outcome: own, logTail });
    const byStore = await spanByStore(this.deps.store, this.input.spec.stageUrl, epoch);
    const figures = figuresOf(claim, outcome, job.facts, end, byStore);
    await this.#record('ended', {
      type: 'attempt-ended',
      epoch,
      ...(done === null ? verdict : DONE),
      ...figures,
      commits,
      left,
      note: stopNote(stop),
    });
    if (isForOthers(end)) throw stopped(end.stop);
    if (done !== null)
      return {
        state: 'done',
        outcome: done,
        stageUrl: this.input.spec.stageUrl,
        adopted: null,
        ledger: this.#ledger,
      };
    return {
      state: 'ended',
      epoch,
      ...verdict,
      ...figures,
      heldSeconds: heldSecondsOf(figures),
      progressed: hasProgressed(commits, job.facts.samples),
      checkpoints: commitsOf(head).map(({ id }) => id),
      logTail,
      watchdog: job.watchdog.learned,
      ledger: this.#ledger,
    };
  }

  /** The end of a cancelled attempt as far as it is known without the store. A later one records it. */
  #endUnheard({ claim, job }: Running, end: JobEnd): EndedAttempt {
    const commits = commitsMade(claim.epoch, [], job.facts.commits);
    const figures = figuresOf(claim, null, job.facts, end, null);
    return {
      state: 'ended',
      epoch: claim.epoch,
      ...STOPPED_AS_ASKED,
      message: `${STOPPED_AS_ASKED.message}; the store could not be asked what it had saved`,
      ...figures,
      heldSeconds: heldSecondsOf(figures),
      progressed: hasProgressed(commits, job.facts.samples),
      checkpoints: null,
      logTail: [],
      watchdog: job.watchdog.learned,
      ledger: this.#ledger,
      unrecorded: true,
    };
  }

  /** A result is kept: later runs of the stage adopt it, and its checkpoint stays although nothing trains on it now. */
  async #keep(outcome: FinishedOutcome): Promise<void> {
    const { store } = this.deps;
    const { stageUrl } = this.input.spec;
    if (outcome.result === 'trained') {
      const pin = { name: 'result', reason: 'the final checkpoint of a finished stage' };
      await pinCheckpoint(store, checkpointRef(stageUrl, outcome.commit), pin);
    }
    const result = { outcome, stageUrl };
    await saveResult(store, stageUrl, result);
    await shareResult(store, this.input.rootUrl, this.#key, result);
  }

  /** The job is gone: nobody will finish what it, or one before it, has begun to upload. */
  async #abortUploads(epoch: Epoch): Promise<void> {
    const prefix = this.#urls.checkpoints;
    try {
      await abortUploads(this.deps.store, prefix, ({ url }) => epochIn(url, prefix) <= epoch);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      // The janitor tries again; parts that nobody may abort are paid for until somebody looks here.
      this.#context.log.warn('unfinished uploads could not be aborted', { prefix, why: error.message });
    }
  }

  async #record(what: 'opened' | 'ended' | 'adopted', entry: LedgerEntry): Promise<void> {
    const { owner } = this.input;
    const chainUrl = this.#urls.ledger;
    const id = `${owner}#${what}`;
    const { index, digest } = await appendRecord(this.deps.store, chainUrl, {
      id,
      after: this.#ledger,
      entry,
    });
    this.#ledger = { records: index, tip: digest };
  }
}

type Claimed = Extract<Claim, { state: 'claimed' }>;

/** What can't be read says nothing, but was left all the same. */
function nullIfInvalid(error: unknown): null {
  if (isStoreError(error, 'invalid-object')) return null;
  throw error;
}

/** `left` absent: not known. */
type KnownEnd = Pick<EntryOf<'attempt-ended'>, 'commits' | 'left'> & {
  readonly outcome: Outcome | null;
  readonly byStore: StoreSpan | null;
};

/** An attempt that has its epoch. */
interface Running {
  readonly claim: Claimed;
  readonly job: AttemptJob;
}

/** Waits until the workflow wants the activity to end, which it may never want. */
async function cancelRequested(context: Context, over: AbortSignal): Promise<void> {
  const { cancellationSignal } = context;
  if (!cancellationSignal.aborted) await once(cancellationSignal, 'abort', { signal: over });
  // Told to end for another reason, it is tried again somewhere else.
  if (!isCancelRequested(context)) await once(over, 'abort');
}

function digestIn(outcome: FinishedOutcome): Digest {
  return outcome.result === 'trained' ? outcome.model.digest : outcome.resultsDigest;
}

/** Epoch of the checkpoint that an object belongs to; 0 for anything else. */
function epochIn(url: string, checkpointsUrl: string): number {
  const id = commitIdSchema.safeParse(pathBelow(checkpointsUrl, url).split('/')[0]);
  return id.success ? partsOfCommitId(id.data).epoch : 0;
}

/** Whether the stage's workflow is not to learn of this end from this activity: it is closed, or a later try tells it. */
function isForOthers(end: JobEnd): end is JobEnd & { readonly stop: JobFate } {
  return end.stop?.kind === 'stop' && end.stop.why !== 'cancelled';
}

/** How an activity ends whose job was stopped, or left to others. */
function stopped(fate: JobFate): Error {
  return ApplicationFailure.create({
    type: fate.why,
    message:
      fate.kind === 'stop' ? `the job was stopped: ${fate.why}` : `left to another worker: ${fate.why}`,
    nextRetryDelay: HAND_OVER_DELAY,
  });
}
