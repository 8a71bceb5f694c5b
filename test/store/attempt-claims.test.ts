import { ApplicationFailure } from '@temporalio/common';
import { utimes } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { claimAttempt } from '../../activities/attempt/claim.js';
import { spanByStore } from '../../activities/attempt/figures.js';
import type { RunAttemptInput } from '../../activities/attempt/types.js';
import { saveResult, shareResult } from '../../activities/attempt/result.js';
import {
  attemptSchema,
  commitIdSchema,
  evaluateSpecSchema,
  pinSchema,
  trainSpecSchema,
} from '../../src/contracts/index.js';
import type { Digest, Epoch, HeadCommit } from '../../src/contracts/index.js';
import type { EntryOf, LedgerEntry } from '../../src/domain/ledger/records.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { rootLayout, stageLayout } from '../../src/contracts/layout.js';
import {
  appendRecord,
  attemptLeft,
  commitsOf,
  createEmptyHead,
  encodeJson,
  moveHead,
  openAttempt,
  parseJson,
  readHead,
  renewLease,
  sha256,
} from '../../src/store/index.js';
import type { ObjectStore } from '../../src/store/index.js';
import { stageKey } from '../../src/store/stage-key.js';
import trainJson from '../../src/contracts/fixtures/valid/job-spec/train-from-checkpoint.json' with { type: 'json' };
import { fakeOutcome } from '../support/fake-activities.js';
import { attemptInput } from './attempt-support.js';
import { claim, commitCheckpoint, freshPrefix, startStage, useS3Server } from './support.js';

const server = useS3Server();
let store: ObjectStore;
let rootUrl: string;
let input: RunAttemptInput;
let key: Digest;

const inputOf = (run: string): RunAttemptInput => attemptInput(rootUrl, run);

beforeEach(() => {
  store = server.current.connect();
  rootUrl = freshPrefix();
  input = inputOf('r');
  key = stageKey(input.spec, 'code');
});

const claimed = async (changes: Partial<RunAttemptInput> = {}) => {
  const result = await claimAttempt(store, { ...input, ...changes }, key);
  if (result.state !== 'claimed') throw new Error('it was finished');
  return result;
};

const refusal = async (changes: Partial<RunAttemptInput>): Promise<ApplicationFailure> => {
  const error: unknown = await claimAttempt(store, { ...input, ...changes }, key).catch(
    (caught: unknown) => caught,
  );
  if (!(error instanceof ApplicationFailure)) throw new Error(`not refused: ${String(error)}`);
  return error;
};

const none = { import: 0, load: 0, firstStep: 0, step: 0, save: 0, evaluate: 0, export: 0 };

/** The end of an attempt, but for which one it was and what it made. */
const attemptEnded: Omit<EntryOf<'attempt-ended'>, 'epoch' | 'commits' | 'left'> = {
  type: 'attempt-ended',
  class: 'preempted',
  message: '',
  signature: '',
  step: 2,
  tokens: 200,
  seconds: { ...none, queued: 0, hung: 0, stopping: 0 },
  wallSeconds: 1,
  node: null,
  note: '',
};

/** A result as a finished evaluation leaves it. */
async function finish(url: string, epoch: number) {
  const results = encodeJson({ scores: url });
  await store.put(stageLayout(url).results, results);
  const outcome = { ...fakeOutcome(evaluateSpecSchema.parse(input.spec), epoch) };
  if (outcome.result !== 'evaluated') throw new Error('an evaluation evaluates');
  return { outcome: { ...outcome, resultsDigest: sha256(results) }, stageUrl: url };
}

/** A result as a finished training stage leaves it. */
async function finishTraining(stageUrl: string) {
  const epoch = await claim(store, stageUrl);
  const commit = await commitCheckpoint(store, stageUrl, epoch, 2);
  const model = { url: stageLayout(stageUrl).export(commit.id), digest: sha256('a model’s manifest') };
  await store.put(`${model.url}/manifest.json`, Buffer.from('a model’s manifest'));
  const outcome = fakeOutcome(trainSpecSchema.parse(trainJson), epoch);
  if (outcome.result !== 'trained') throw new Error('training trains');
  return { commit, result: { outcome: { ...outcome, commit, model }, stageUrl } };
}

describe('an attempt is claimed before anything is launched, and once', () => {
  it('writes the attempt’s own file with what holds for it alone', async () => {
    const { epoch } = await claimed();
    const { value } = await store.getJson(stageLayout(input.spec.stageUrl).attemptFile(epoch), attemptSchema);
    expect(value).toMatchObject({
      epoch: 1,
      owner: 'owner/1',
      startedFrom: null,
      skipSteps: [{ first: 3, last: 3 }],
    });
    expect(value).not.toHaveProperty('previousOwner');
  });

  it('says whom it has taken the stage over from', async () => {
    await claimed();
    const { epoch, previousOwner } = await claimed({ owner: 'owner/2' });
    const { value } = await store.getJson(stageLayout(input.spec.stageUrl).attemptFile(epoch), attemptSchema);
    expect([previousOwner, value.previousOwner]).toEqual(['owner/1', 'owner/1']);
  });

  it('says which spec it is for, by the digest of the stored bytes', async () => {
    const { specDigest } = await claimed();
    expect(specDigest).toBe(sha256((await store.get(stageLayout(input.spec.stageUrl).spec)).data));
  });

  it('gives a repeated activity the same epoch and the same time of the claim', async () => {
    const first = await claimed();
    expect(await claimed()).toEqual(first);
    const second = await claimed({ owner: 'owner/2' });
    expect(second.epoch).toBe(2);
    expect(await claimed({ owner: 'owner/2' })).toEqual(second);
  });
});

describe('how long an attempt took by the store’s own clock', () => {
  /** Sets back when an object was written. */
  async function writtenAgo(url: string, seconds: number): Promise<void> {
    const then = Date.now() / 1000 - seconds;
    await utimes(server.current.fileOf(url), then, then);
  }
  const span = async (epoch: Epoch): Promise<readonly [number, number]> => {
    const found = await spanByStore(store, input.spec.stageUrl, epoch);
    if (found === null) throw new Error('the store tells');
    return [found.leastSeconds, found.mostSeconds];
  };
  /** The store tells whole seconds, and the test takes some. */
  const near = (seconds: number) => expect.closeTo(seconds, -2.5) as number;

  it('is from its file to its outcome', async () => {
    const { epoch } = await claimed();
    const { attemptFile, outcome } = stageLayout(input.spec.stageUrl);
    await store.put(outcome(epoch), Buffer.from('{}'));
    await writtenAgo(attemptFile(epoch), 5000);
    await writtenAgo(outcome(epoch), 2000);
    expect(await span(epoch)).toEqual([near(3000), near(3000)]);
  });

  it('is, without an outcome, from its file to its last sign of life at least, and to now at most', async () => {
    const { epoch } = await claimed();
    const { attemptFile, eventFile, lease } = stageLayout(input.spec.stageUrl);
    await writtenAgo(attemptFile(epoch), 5000);
    expect(await span(epoch)).toEqual([0, near(5000)]);
    for (const index of [1, 2]) {
      await store.put(eventFile(epoch, index), Buffer.from('{}'));
      await writtenAgo(eventFile(epoch, index), 4000 - 1000 * index);
    }
    expect(await span(epoch)).toEqual([near(3000), near(5000)]);
    await renewLease(store, input.spec.stageUrl, epoch, 60);
    await writtenAgo(lease, 1000);
    expect(await span(epoch)).toEqual([near(4000), near(5000)]);
    await renewLease(store, input.spec.stageUrl, (await claimed({ owner: 'owner/2' })).epoch, 60);
    expect(await span(epoch)).toEqual([near(3000), near(5000)]);
    await store.put(lease, Buffer.from('{'));
    expect(await span(epoch)).toEqual([near(3000), near(5000)]);
  });
});

describe('an owner that another has superseded does not come back', () => {
  it('1, 2, then 1 again as 3: refused as fenced, and its successor keeps the stage', async () => {
    const first = await claimed({ owner: 'n/first/run/1' });
    const second = await claimed({ owner: 'n/second/run/1' });
    const error = await refusal({ owner: 'n/first/run/1' });
    expect(error.type).toBe('fenced');
    expect(error.message).toContain(`attempt ${first.epoch} of ${input.spec.stageUrl} was superseded`);
    expect(error.message).toContain('n/second/run/1 has claimed attempt 2');
    const { value: head } = await readHead(store, input.spec.stageUrl);
    expect([head.epoch, head.owner]).toEqual([second.epoch, 'n/second/run/1']);
  });

  it('though it was frozen between the two halves of its claim: HEAD had moved, attempt.json was not written', async () => {
    const { stageUrl } = input.spec;
    await createEmptyHead(store, stageUrl);
    await openAttempt(store, { stageUrl, owner: 'n/first/run/1' });
    await claimed({ owner: 'n/second/run/1' });
    await claimed({ owner: 'n/third/run/1' });
    const error = await refusal({ owner: 'n/first/run/1' });
    expect(error.type).toBe('fenced');
    expect(error.message).toContain(`attempt 1 of ${stageUrl} was superseded`);
    const { value: head } = await readHead(store, stageUrl);
    expect([head.epoch, head.owner]).toEqual([3, 'n/third/run/1']);
  });

  it('also by an attempt whose file says nothing of the owner before it, as older ones', async () => {
    const { stageUrl } = input.spec;
    await claimed({ owner: 'n/first/run/1' });
    const { epoch } = await claimed({ owner: 'n/second/run/1' });
    const url = stageLayout(stageUrl).attemptFile(epoch);
    const { value } = await store.getJson(url, attemptSchema);
    await store.put(url, encodeJson({ ...value, previousOwner: undefined }));
    expect((await refusal({ owner: 'n/first/run/1' })).type).toBe('fenced');
  });

  it('but its workflow’s next attempt may claim, as after a predecessor’s end', async () => {
    await claimed({ owner: 'n/first/run/1' });
    await claimed({ owner: 'n/second/run/1' });
    expect((await claimed({ owner: 'n/first/run/2' })).epoch).toBe(3);
  });
});

describe('an attempt goes on from what the ledger records, whatever HEAD says meanwhile', () => {
  /** Two commits by an attempt that has ended, as its record says, and another one behind that; the chain's tip. */
  async function committed(): Promise<{ commits: HeadCommit[]; tip: LedgerTip }> {
    const { stageUrl } = input.spec;
    await claimed();
    const epoch = await claim(store, stageUrl);
    const commits = [];
    for (const step of [1, 2]) commits.push(await commitCheckpoint(store, stageUrl, epoch, step));
    const left = await attemptLeft(store, { stageUrl, epoch, evaluated: false });
    const records = commits.map(({ id, step, manifestDigest }) => ({ id, step, manifestDigest }));
    await append(2, { ...attemptEnded, epoch, commits: records, left });
    const tip = await append(3, { ...attemptEnded, epoch: 1, commits: [], left });
    return { commits: commits.reverse(), tip };
  }

  const append = async (number: number, entry: LedgerEntry): Promise<LedgerTip> => {
    const chainUrl = stageLayout(input.spec.stageUrl).ledger;
    const after = { records: 0, tip: null };
    const { index, digest } = await appendRecord(store, chainUrl, { id: `w#${number}`, after, entry });
    return { records: index, tip: digest };
  };

  const changeHead = (change: (commits: HeadCommit[]) => HeadCommit[]) =>
    moveHead(store, input.spec.stageUrl, (head) => {
      const [commit = null, ...ancestors] = change(commitsOf(head));
      return { ...head, commit, ancestors };
    });

  it('the commits that it records, told to the job with their digests', async () => {
    const { commits, tip } = await committed();
    const { epoch, from, attemptDigest } = await claimed({ owner: 'b', ledger: tip });
    expect(from).toEqual(commits[0]);
    const { data } = await store.get(stageLayout(input.spec.stageUrl).attemptFile(epoch));
    expect(attemptDigest).toBe(sha256(data));
    expect(parseJson('', data, attemptSchema)).toMatchObject({
      startedFrom: commits[0],
      ancestors: [commits[1]],
    });
  });

  it.each([0, 1])('no other manifest under the name of a commit (%i behind the newest)', async (behind) => {
    const { commits, tip } = await committed();
    const forged = sha256('halved weights');
    await changeHead((line) =>
      line.map((commit, index) => (index === behind ? { ...commit, manifestDigest: forged } : commit)),
    );
    const { type, nonRetryable, message } = await refusal({ owner: 'b', ledger: tip });
    expect([type, nonRetryable]).toEqual(['checkpoint', true]);
    expect(message).toContain(`names the commit ${commits[behind]?.id ?? ''} with the manifest ${forged}`);
    // Another checkpoint, chosen by an operator, is as good as it was.
    if (behind === 0) {
      const from = commits[1]?.id ?? '';
      expect((await claimed({ owner: 'c', ledger: tip, from })).from).toEqual(commits[1]);
    }
    expect((await claimed({ owner: 'd', ledger: tip, from: 'zero' })).from).toBeNull();
  });

  it('no commit that the attempt in its name has not made', async () => {
    const { commits, tip } = await committed();
    const id = commitIdSchema.parse('00000009-0002-0123abcd');
    await changeHead((line) => line.map((commit, index) => (index === 0 ? { ...commit, id } : commit)));
    const { message } = await refusal({ owner: 'b', ledger: tip });
    expect(message).toContain(`names the commit ${id}, which attempt 2 has not made`);
    expect(commits).toHaveLength(2);
  });

  it('not where the ledger itself was rewritten', async () => {
    const { tip } = await committed();
    const { message } = await refusal({ owner: 'b', ledger: { ...tip, tip: sha256('another') } });
    expect(message).toContain('record 000002.json of');
    expect(message).toContain('is not what it was');
  });

  it('by no other spec than the one its attempts have worked by, though it was put in that one’s place', async () => {
    const { specDigest } = await claimed();
    const job = 'a-job';
    const opened = { type: 'attempt-opened', epoch: 1, job, from: null, previousOwner: '', why: '' } as const;
    await append(1, { ...opened, spec: { revision: 0, digest: specDigest } });
    const { tip } = await committed();
    const changed = { ...input.spec, runtime: { ...input.spec.runtime, threads: 99 } };
    await store.delete([stageLayout(input.spec.stageUrl).spec]);
    const { type, message } = await refusal({ owner: 'b', ledger: tip, spec: changed });
    expect(type).toBe('checkpoint');
    expect(message).toContain(`000001.json of the stage's ledger records ${specDigest}`);
    const retried = { owner: 'b', ledger: tip, spec: changed, specRevision: 1 };
    expect((await claimed(retried)).epoch).toBe(3);
  });

  it('a commit of an attempt whose end nobody could record', async () => {
    const { tip } = await committed();
    const epoch = await claim(store, input.spec.stageUrl);
    const commit = await commitCheckpoint(store, input.spec.stageUrl, epoch, 3);
    expect((await claimed({ owner: 'b', ledger: tip })).from).toEqual(commit);
  });
});

describe('an attempt begins where it is told to', () => {
  it('at the newest commit, at a named one, or at nothing', async () => {
    const { stageUrl } = input.spec;
    await claimed();
    const commits = [];
    for (const step of [1, 2])
      commits.push(await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), step));
    const [older, newer] = commits;
    expect((await claimed({ owner: 'b' })).from).toEqual(newer);
    expect((await claimed({ owner: 'c', from: older?.id ?? '' })).from).toEqual(older);
    expect((await claimed({ owner: 'd', from: 'zero' })).from).toBeNull();
    // What HEAD no longer names is found by its manifest.
    expect((await claimed({ owner: 'e', from: newer?.id ?? '' })).from).toEqual(newer);
  });

  it('refuses a checkpoint whose manifest can’t be read', async () => {
    const { stageUrl } = input.spec;
    await claimed();
    const { id } = await commitCheckpoint(store, stageUrl, await claim(store, stageUrl), 1);
    await claimed({ owner: 'b', from: 'zero' });
    await store.put(stageLayout(stageUrl).manifest(id), Buffer.from('{"schema":'));
    const { message, nonRetryable } = await refusal({ owner: 'c', from: id });
    expect(nonRetryable).toBe(true);
    expect(message).toContain(`${id}/manifest.json: is not JSON`);
  });

  it('refuses a checkpoint that is not there, and names those that are', async () => {
    const { message, nonRetryable } = await refusal({ from: '00000009-0001-0123abcd' });
    expect(nonRetryable).toBe(true);
    expect(message).toContain('has no checkpoint 00000009-0001-0123abcd');
    expect((await readHead(store, input.spec.stageUrl)).value.epoch).toBe(0);
  });
});

describe('a stage that has drifted blocks until somebody acknowledges it', () => {
  it('refuses another spec under the same name, and takes it as a revision', async () => {
    await claimed();
    const drifted = { ...input.spec, runtime: { ...input.spec.runtime, threads: 99 } };
    const { message } = await refusal({ spec: drifted, owner: 'owner/2' });
    expect(message).toContain('says something else');
    expect(message).toContain('retryStage and force');
    expect((await claimed({ spec: drifted, owner: 'owner/2', specRevision: 1, force: true })).epoch).toBe(2);
  });
});

describe('a finished stage is adopted, not made again', () => {
  it('adopts its own result, knows its own work, and makes it anew only when forced to', async () => {
    const { epoch } = await claimed();
    await saveResult(store, input.spec.stageUrl, await finish(input.spec.stageUrl, epoch));
    expect(await claimAttempt(store, input, key)).toMatchObject({ state: 'finished', adopted: null });
    const other = await claimAttempt(store, { ...input, owner: 'owner/2' }, key);
    expect(other).toMatchObject({
      state: 'finished',
      adopted: expect.stringContaining('this stage') as string,
    });
    expect((await claimed({ owner: 'owner/3', force: true })).epoch).toBe(2);
  });

  it('does not adopt a result whose bytes are not what it says', async () => {
    const { epoch } = await claimed();
    await saveResult(store, input.spec.stageUrl, await finish(input.spec.stageUrl, epoch));
    await store.put(stageLayout(input.spec.stageUrl).results, encodeJson({ scores: 'better' }));
    expect((await claimed({ owner: 'owner/2' })).epoch).toBe(2);
  });

  it('adopts another run’s result of the same work, if the recipe allows it', async () => {
    const made = inputOf('made').spec.stageUrl;
    await shareResult(store, rootUrl, key, await finish(made, 1));
    const adopted = await claimAttempt(store, { ...input, reuse: true }, key);
    expect(adopted).toMatchObject({ state: 'finished', result: { stageUrl: made } });
    expect((await store.get(stageLayout(input.spec.stageUrl).results)).data).toEqual(
      (await store.get(stageLayout(made).results)).data,
    );
    const fresh = inputOf('fresh');
    expect((await claimAttempt(store, fresh, key)).state).toBe('claimed');
  });

  it('does not adopt another run’s result unless it says that it is of the same work', async () => {
    const { sharedResult } = rootLayout(rootUrl);
    const other = stageKey(input.spec, 'other code');
    await shareResult(store, rootUrl, other, await finish(inputOf('made').spec.stageUrl, 1));
    // As if both keys began alike.
    const shared = Buffer.from((await store.get(sharedResult(other))).data);
    await store.put(sharedResult(key), shared);
    expect((await claimed({ reuse: true })).epoch).toBe(1);
    // As it was written before results held their key.
    await store.put(sharedResult(key), Buffer.from(shared.toString().replace(/,\s*"key": "[^"]+"/, '')));
    expect((await claimed({ reuse: true, owner: 'owner/2' })).epoch).toBe(2);
    await store.put(sharedResult(key), Buffer.from('not JSON'));
    expect((await claimed({ reuse: true, owner: 'owner/3' })).epoch).toBe(3);
    await store.put(sharedResult(key), Buffer.from(shared.toString().replaceAll(other, key)));
    const adopted = await claimAttempt(store, { ...input, reuse: true, owner: 'owner/4' }, key);
    expect(adopted.state).toBe('finished');
  });

  it.each(['second', 'A.second_Run-2'])('keeps the checkpoint that the run %s has adopted', async (run) => {
    const { result, commit } = await finishTraining(await startStage(store));
    await shareResult(store, rootUrl, key, result);
    const adopted = await claimAttempt(store, { ...inputOf(run), reuse: true }, key);
    expect(adopted).toMatchObject({ state: 'finished', result: { stageUrl: result.stageUrl } });
    const pins = stageLayout(result.stageUrl).pins(commit.id);
    const names = [];
    for await (const { url } of store.list(pins))
      names.push((await store.getJson(url, pinSchema)).value.reason);
    expect(names).toEqual([`the result of a stage of run ${run}`]);
  });
});
