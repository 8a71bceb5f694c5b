/** The claim of an attempt: its spec, its epoch, its `attempt.json`. Everything here can be repeated by the same owner. */
import { ApplicationFailure } from '@temporalio/activity';
import {
  attemptSchema,
  checkpointManifestSchema,
  commitIdSchema,
  epochSchema,
  jobSpecSchema,
} from '../../src/contracts/index.js';
import type {
  AttemptFile,
  CheckpointManifest,
  Digest,
  Epoch,
  Head,
  HeadCommit,
} from '../../src/contracts/index.js';
import type { RetryFrom } from '../../src/domain/run/operator-actions.js';
import { sha256 } from '../../src/store/digest.js';
import { isStoreError } from '../../src/store/errors.js';
import { commitsOf, createEmptyHead, openAttempt } from '../../src/store/head.js';
import type { StartingPoint } from '../../src/store/head.js';
import { stageLayout } from '../../src/contracts/layout.js';
import { encodeJson, parseJson } from '../../src/store/object-store.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { contradictionOf } from '../../src/store/recorded-commits.js';
import { mapConcurrently } from '../../src/store/transfer.js';
import type { RunAttemptInput } from './types.js';
import { adoptResult, findResult, findSharedResult } from './result.js';
import type { StageResult } from './result.js';

/** A claim on a stage, or the result that makes one unnecessary; either way, the stage has its spec. */
export type Claim = {
  /** Of the spec's object. */
  readonly specDigest: Digest;
} & Decision;

type Decision =
  | {
      readonly state: 'claimed';
      readonly epoch: Epoch;
      /** Commit the attempt begins at; null: the start. */
      readonly from: HeadCommit | null;
      readonly previousOwner: string;
      /** Of attempt.json's bytes. */
      readonly attemptDigest: Digest;
      /** When the epoch was first claimed. */
      readonly claimedAt: string;
    }
  | {
      readonly state: 'finished';
      readonly result: StageResult;
      /** Why nothing was run; null: this attempt has run it before. */
      readonly adopted: string | null;
    };

/**
 * Writes the stage's spec, adopts a result that is there already, or claims the next epoch.
 * @throws ApplicationFailure `user-error` when the stage has another spec, or no such checkpoint to begin at; `checkpoint` when the
 * checkpoint to begin at is not the one that the stage's ledger records.
 */
export async function claimAttempt(store: ObjectStore, input: RunAttemptInput, key: Digest): Promise<Claim> {
  const { spec, owner, force } = input;
  const { stageUrl } = spec;
  const [head, result, specDigest] = await Promise.all([
    createEmptyHead(store, stageUrl),
    findResult(store, stageUrl),
    writeSpec(store, input),
  ]);
  const own = result !== null && head.owner === owner && result.outcome.epoch === head.epoch;
  if (result !== null && own) return { state: 'finished', result, adopted: null, specDigest };
  if (result !== null && !force) return { state: 'finished', result, adopted: ADOPTED, specDigest };
  const shared = force ? null : await adoptShared(store, input, key);
  if (shared !== null) return { ...shared, specDigest };
  const start = await startingPoint(store, stageUrl, input.from);
  await refuseContradiction(store, input, { head, start, specDigest });
  await refuseSuperseded(store, input, head);
  const {
    epoch,
    head: claimed,
    previousOwner: before,
  } = await openAttempt(store, {
    stageUrl,
    owner,
    from: start,
  });
  const { file, digest: attemptDigest } = await writeAttempt(store, stageUrl, {
    schema: 'longhaul.attempt/1',
    epoch,
    owner,
    ...(before === '' ? {} : { previousOwner: before }),
    specDigest,
    startedFrom: claimed.commit,
    ancestors: claimed.ancestors,
    skipSteps: [...input.skipSteps],
    meanSecondsBetweenInterruptions: input.meanSecondsBetweenInterruptions,
    createdAt: new Date().toISOString(),
  });
  const { previousOwner = '', createdAt: claimedAt } = file;
  const from = claimed.commit;
  return { state: 'claimed', epoch, from, previousOwner, attemptDigest, claimedAt, specDigest };
}

const ADOPTED = 'a verified result of this stage is there already';

/** A result of the same work by another run, verified and made this stage's own; null: there is none. */
async function adoptShared(
  store: ObjectStore,
  { reuse, spec, run, rootUrl }: RunAttemptInput,
  key: Digest,
): Promise<Decision | null> {
  if (!reuse) return null;
  const result = await findSharedResult(store, rootUrl, key);
  if (result === null) return null;
  await adoptResult(store, spec.stageUrl, result, run);
  const adopted = `same code, settings and inputs as ${result.stageUrl}, whose result verifies`;
  return { state: 'finished', result, adopted };
}

/** A stage's spec of one revision never changes: every attempt trains with what it says. Returns its digest. */
async function writeSpec(store: ObjectStore, { spec, specRevision }: RunAttemptInput): Promise<Digest> {
  const url = stageLayout(spec.stageUrl).specOf(specRevision);
  const bytes = encodeJson(jobSpecSchema.parse(spec));
  try {
    await store.create(url, bytes);
    return sha256(bytes);
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
    throw userError(
      `${url} says something else than this recipe: start the changed recipe as a run of another name, ` +
        'or acknowledge the change with retryStage and force',
    );
  }
}

/** Create-only: a repeated claim finds what it wrote the first time. Returns that, and its digest. */
async function writeAttempt(
  store: ObjectStore,
  stageUrl: string,
  file: AttemptFile,
): Promise<{ readonly file: AttemptFile; readonly digest: Digest }> {
  const url = stageLayout(stageUrl).attemptFile(file.epoch);
  const bytes = encodeJson(file);
  try {
    await store.create(url, bytes);
    return { file, digest: sha256(bytes) };
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
    const { data } = await store.get(url);
    return { file: parseJson(url, data, attemptSchema), digest: sha256(data) };
  }
}

async function startingPoint(store: ObjectStore, stageUrl: string, from: RetryFrom): Promise<StartingPoint> {
  if (from === 'head') return { at: 'head' };
  if (from === 'zero') return { at: 'zero' };
  const head = await createEmptyHead(store, stageUrl);
  const named = commitsOf(head).find(({ id }) => id === from);
  if (named !== undefined) return { at: 'commit', commit: named };
  return { at: 'commit', commit: await storedCommit(store, stageUrl, from, commitsOf(head)) };
}

/** Nobody goes on from what was changed since it was committed: an operator has to look, and choose another checkpoint. */
async function refuseContradiction(
  store: ObjectStore,
  { spec: { stageUrl }, specRevision, ledger, owner }: RunAttemptInput,
  { head, start, specDigest }: { head: Head; start: StartingPoint; specDigest: Digest },
): Promise<void> {
  if (start.at === 'zero' || (head.owner === owner && head.epoch > 0)) return;
  const { ledger: chainUrl } = stageLayout(stageUrl);
  const commits = start.at === 'head' ? commitsOf(head) : lineFrom(head, start.commit);
  const contradiction = await contradictionOf(store, {
    chainUrl,
    known: ledger,
    commits,
    spec: { revision: specRevision, digest: specDigest },
  });
  if (contradiction === null) return;
  const message = `${stageUrl} was changed by somebody else: ${contradiction}. Retry from another checkpoint, or from zero`;
  throw ApplicationFailure.create({ type: 'checkpoint', nonRetryable: true, message });
}

/** Newest attempts in which a superseded owner is looked for; one that comes back later than that has no job left to watch. */
const SUPERSEDED_LOOK_BACK = 64;

/**
 * An owner whose attempt another has superseded must not claim again: it would fence its successor. One that was frozen between
 * its two writes has no attempt.json: then the successor's says whose epoch came before.
 * @throws ApplicationFailure `fenced`
 */
async function refuseSuperseded(
  store: ObjectStore,
  { spec: { stageUrl }, owner }: RunAttemptInput,
  head: Head,
): Promise<void> {
  if (head.owner === owner) return;
  const epochs = Array.from({ length: Math.min(head.epoch, SUPERSEDED_LOOK_BACK) }, (_, back) =>
    epochSchema.parse(head.epoch - back),
  );
  const attempts = await mapConcurrently(epochs, SUPERSEDED_LOOK_BACK / 4, (epoch) =>
    store.findJson(stageLayout(stageUrl).attemptFile(epoch), attemptSchema),
  );
  const own = attempts.flatMap((attempt) => (attempt === null ? [] : epochsOf(owner, attempt.value)))[0];
  if (own === undefined) return;
  const message =
    `attempt ${own} of ${stageUrl} was superseded: ${head.owner} has claimed attempt ${head.epoch}. ` +
    'Whoever started that has the stage now; retry only when its workflow is closed';
  throw ApplicationFailure.create({ type: 'fenced', nonRetryable: true, message });
}

/** The epochs that an owner has claimed, as far as one attempt's file tells. */
function epochsOf(owner: string, file: AttemptFile): number[] {
  if (file.owner === owner) return [file.epoch];
  return file.previousOwner === owner ? [file.epoch - 1] : [];
}

/** A commit, and those behind it if `HEAD` names it. */
function lineFrom(head: Head, commit: HeadCommit): HeadCommit[] {
  const line = commitsOf(head);
  const index = line.findIndex(({ id }) => id === commit.id);
  return index < 0 ? [commit] : line.slice(index);
}

/** A checkpoint that `HEAD` no longer names but that is still there: a pinned one, or one of a line left behind. */
async function storedCommit(
  store: ObjectStore,
  stageUrl: string,
  from: string,
  named: readonly HeadCommit[],
): Promise<HeadCommit> {
  const id = commitIdSchema.parse(from);
  const url = stageLayout(stageUrl).manifest(id);
  const found = await store.find(url);
  if (found === null) {
    const known = named.length === 0 ? 'none' : named.map((commit) => commit.id).join(', ');
    throw userError(`${stageUrl} has no checkpoint ${from}; HEAD names ${known}`);
  }
  const { step, tokens } = readable(url, found.data);
  return { id, step, tokens, manifestDigest: sha256(found.data) };
}

/** A manifest that can't be read now can't be read later: the operator has to choose another checkpoint. */
function readable(url: string, manifest: Uint8Array): CheckpointManifest {
  try {
    return parseJson(url, manifest, checkpointManifestSchema);
  } catch (error) {
    throw isStoreError(error, 'invalid-object') ? userError(error.message) : error;
  }
}

function userError(message: string): ApplicationFailure {
  return ApplicationFailure.create({ type: 'user-error', nonRetryable: true, message });
}
