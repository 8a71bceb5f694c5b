import { ApplicationFailure } from '@temporalio/common';
import { beforeEach, describe, expect, it } from 'vitest';
import { claimAttempt } from '../../activities/attempt-claim.js';
import type { RunAttemptInput } from '../../activities/attempt-types.js';
import { saveResult, shareResult } from '../../activities/stage-result.js';
import { attemptSchema, evaluateSpecSchema, pinSchema, trainSpecSchema } from '../../src/contracts/index.js';
import type { Digest } from '../../src/contracts/index.js';
import { encodeJson, readHead, rootLayout, sha256, stageLayout } from '../../src/store/index.js';
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
  });

  it('says which spec it is for, by the digest of the stored bytes', async () => {
    const { specDigest } = await claimed();
    expect(specDigest).toBe(sha256((await store.get(stageLayout(input.spec.stageUrl).spec)).data));
  });

  it('gives a repeated activity the same epoch and the same time of the claim', async () => {
    const first = await claimed();
    expect(await claimed()).toEqual({ ...first, previousOwner: '' });
    expect((await claimed({ owner: 'owner/2' })).epoch).toBe(2);
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
