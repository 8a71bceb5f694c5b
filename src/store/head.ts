/** `HEAD` of a stage: created empty, claimed by epochs, moved only by conditional writes. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { epochSchema, headSchema } from '../contracts/index.js';
import type { CommitId, Epoch, Head, HeadCommit } from '../contracts/index.js';
import { StoreError, isStoreError } from './errors.js';
import { stageLayout } from '../contracts/layout.js';
import { encodeJson } from './object-store.js';
import type { ObjectStore, Parsed } from './object-store.js';

/** Where the next attempt begins: at `HEAD`'s commit, at another commit, or, said in so many words, at nothing. */
export type StartingPoint =
  { readonly at: 'head' } | { readonly at: 'commit'; readonly commit: HeadCommit } | { readonly at: 'zero' };

/** A claim of a stage's next epoch. */
export interface ClaimInput {
  readonly stageUrl: string;
  /** Token of the claim: namespace, workflow id, run id, attempt. A repeated claim by it gets the same epoch. */
  readonly owner: string;
  /** Default: `HEAD`'s commit. */
  readonly from?: StartingPoint | undefined;
}

/** What a claim got. */
export interface ClaimedEpoch {
  readonly epoch: Epoch;
  readonly head: Head;
  /** Owner of the epoch before; empty: none. Another workflow's token here means that the stage was taken over. */
  readonly previousOwner: string;
}

/** Tries of a move before the contention counts as trouble. Each lost try means that someone else succeeded. */
const MOVE_TRIES = 16;

/**
 * Creates the empty `HEAD` of a stage, or leaves the one that is there. Only for a stage's start.
 * @throws StoreError `invalid-object` when `HEAD` is missing although attempts or checkpoints exist: it was lost.
 */
export async function createEmptyHead(store: ObjectStore, stageUrl: string): Promise<Head> {
  const layout = stageLayout(stageUrl);
  const found = await store.findJson(layout.head, headSchema);
  if (found !== null) return found.value;
  for (const prefix of [layout.attempts, layout.checkpoints]) {
    if ((await store.folders(prefix)).length > 0) throw missingHead(layout.head);
  }
  const head: Head = {
    schema: 'longhaul.head/1',
    epoch: epochSchema.parse(0),
    owner: '',
    nonce: newNonce(),
    commit: null,
    ancestors: [],
    updatedAt: new Date().toISOString(),
  };
  try {
    await store.create(layout.head, encodeJson(head));
    return head;
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
    return (await readHead(store, stageUrl)).value;
  }
}

/** `HEAD` and its ETag. @throws StoreError `invalid-object` when it is missing: that is never "step zero". */
export async function readHead(store: ObjectStore, stageUrl: string): Promise<Parsed<Head>> {
  const url = stageLayout(stageUrl).head;
  const found = await store.findJson(url, headSchema);
  if (found === null) throw missingHead(url);
  return found;
}

function missingHead(url: string): StoreError {
  return new StoreError('invalid-object', url, 'HEAD is missing; it is created when the stage starts');
}

/**
 * Claims the next epoch: moves `HEAD` to `{epoch: n + 1, owner}` with its commit unchanged, unless another starting point
 * is asked for. From then on no earlier attempt can commit.
 */
export async function openAttempt(store: ObjectStore, input: ClaimInput): Promise<ClaimedEpoch> {
  let previousOwner = '';
  const head = await moveHead(store, input.stageUrl, (current) => {
    if (current.owner === input.owner && current.epoch > 0) return null;
    previousOwner = current.owner;
    const start = startFrom(current, input.from ?? { at: 'head' });
    return { ...start, epoch: epochSchema.parse(current.epoch + 1), owner: input.owner };
  });
  return { epoch: head.epoch, head, previousOwner };
}

function startFrom(head: Head, from: StartingPoint): Pick<Head, 'commit' | 'ancestors'> {
  switch (from.at) {
    case 'head':
      return { commit: head.commit, ancestors: head.ancestors };
    case 'zero':
      return { commit: null, ancestors: [] };
    case 'commit':
      return { commit: from.commit, ancestors: ancestorsOf(head, from.commit.id) };
  }
}

/** The commits behind one of `HEAD`'s line; none for a commit that is not in it (a pinned one of an abandoned line). */
function ancestorsOf(head: Head, commit: CommitId): HeadCommit[] {
  const line = commitsOf(head);
  const index = line.findIndex(({ id }) => id === commit);
  return index < 0 ? [] : line.slice(index + 1);
}

/** The commits that `HEAD` names, newest first. */
export function commitsOf(head: Head): HeadCommit[] {
  return head.commit === null ? head.ancestors : [head.commit, ...head.ancestors];
}

/** What a move may change. */
export type HeadChange = Pick<Head, 'epoch' | 'owner' | 'commit' | 'ancestors'>;

/**
 * Moves `HEAD` by conditional write. `decide` sees the current `HEAD` at every try and returns what it becomes, null to leave
 * it, or throws. A refused or unanswered write is settled by reading again: the own nonce there means that it landed.
 */
export async function moveHead(
  store: ObjectStore,
  stageUrl: string,
  decide: (current: Head) => HeadChange | null,
): Promise<Head> {
  const nonce = newNonce();
  let trouble: unknown;
  for (let tries = 0; tries < MOVE_TRIES; tries += 1) {
    const { value: current, etag } = await readHead(store, stageUrl);
    if (current.nonce === nonce) return current;
    const change = decide(current);
    if (change === null) return current;
    const moved: Head = { ...current, ...change, nonce, updatedAt: new Date().toISOString() };
    try {
      await store.replace(stageLayout(stageUrl).head, encodeJson(headSchema.parse(moved)), etag);
      return moved;
    } catch (error) {
      if (!isStoreError(error, 'precondition-failed', 'unavailable')) throw error;
      trouble = error;
    }
    await sleep(Math.random() * Math.min(20 * 2 ** tries, 1_000));
  }
  throw new StoreError('unavailable', stageUrl, `HEAD could not be moved in ${String(MOVE_TRIES)} tries`, {
    cause: trouble,
  });
}

function newNonce(): string {
  return randomBytes(16).toString('hex');
}
