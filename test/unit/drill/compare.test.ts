import { describe, expect, it } from 'vitest';
import { commitIdSchema } from '../../../src/contracts/index.js';
import { compareRuns } from '../../../src/drill/compare.js';
import type { EvaluatedEvidence, StageEvidence, TrainedEvidence } from '../../../src/drill/evidence.js';

const commit = (step: number, epoch = 1) =>
  commitIdSchema.parse(`${String(step).padStart(8, '0')}-${String(epoch).padStart(4, '0')}-00000000`);

/** A stage of four steps of two rows. */
function trained(changes: Partial<TrainedEvidence> = {}): TrainedEvidence {
  return {
    kind: 'train',
    folder: '02-stage-1',
    weightsDigest: 'sha256:weights',
    files: [
      { path: 'moments.safetensors', digest: 'sha256:moments' },
      { path: 'weights.safetensors', digest: 'sha256:file' },
    ],
    consumed: [
      { commit: commit(2), first: 0, end: 4 },
      { commit: commit(4), first: 4, end: 8 },
    ],
    rows: 8,
    trainingSeconds: 1,
    problems: [],
    attempts: [{ epoch: 1, ended: 'done', fingerprint: { cpu: 'a', threads: 1 } }],
    ...changes,
  };
}

const evaluated: EvaluatedEvidence = {
  kind: 'evaluate',
  folder: '03-evaluation',
  samples: 4,
  answersDigest: 'sha256:answers',
  attempts: [],
};

/** What was found wrong with a disturbed run, the undisturbed one being as it should. */
function faults(disturbed: readonly StageEvidence[], undisturbed: readonly StageEvidence[] = [trained()]) {
  return compareRuns(undisturbed, disturbed)
    .filter(({ passed }) => !passed)
    .map(({ what, found }) => `${what}: ${found}`);
}

describe('a disturbed run passes', () => {
  it('when weights, state and answers are the same and every sample was consumed once', () => {
    const attempts = [
      { epoch: 1, ended: null, fingerprint: null },
      { epoch: 2, ended: 'preempted', fingerprint: { cpu: 'a', threads: 1 } },
      { epoch: 3, ended: 'done', fingerprint: { cpu: 'a', threads: 1 } },
    ];
    const checks = compareRuns([trained(), evaluated], [trained({ attempts }), evaluated]);
    expect(checks.filter(({ passed }) => !passed)).toEqual([]);
    expect(checks[0]?.found).toBe('3 attempts: died without a word, preempted, done');
  });

  it('when retention has removed the first manifests, and says so', () => {
    const consumed = trained().consumed.slice(1);
    const samples = compareRuns([trained()], [trained({ consumed })]).find(({ what }) => what === 'samples');
    expect(samples).toMatchObject({ passed: true });
    expect(samples?.found).toContain('rows 4 to 8');
  });
});

describe('a disturbed run fails', () => {
  it('when weights differ', () => {
    expect(faults([trained({ weightsDigest: 'sha256:others' })])).toEqual([
      'weights: sha256:weights undisturbed, sha256:others disturbed',
    ]);
  });

  it('when the optimizer’s moments differ although weights do not', () => {
    const [, weights] = trained().files;
    const files = [{ path: 'moments.safetensors', digest: 'sha256:others' }, ...(weights ? [weights] : [])];
    expect(faults([trained({ files })])).toEqual([
      'optimizer state and counters: different: moments.safetensors',
    ]);
  });

  it('when samples were lost', () => {
    const consumed = [
      { commit: commit(2), first: 0, end: 4 },
      { commit: commit(4), first: 6, end: 8 },
    ];
    expect(faults([trained({ consumed })])).toEqual([
      `samples: ${commit(4)} consumed rows 6 to 8, where 4 came next`,
    ]);
  });

  it('when samples were repeated', () => {
    const consumed = [
      { commit: commit(2), first: 0, end: 4 },
      { commit: commit(4, 2), first: 2, end: 8 },
    ];
    expect(faults([trained({ consumed })])).toEqual([
      `samples: ${commit(4, 2)} consumed rows 2 to 8, where 4 came next`,
    ]);
  });

  it('when it ended early, or nothing can be read of what it consumed', () => {
    expect(faults([trained({ consumed: trained().consumed.slice(0, 1) })])).toEqual([
      'samples: the last commit ends at row 4 of 8',
    ]);
    expect(faults([trained({ consumed: [] })])).toEqual([
      'samples: the final checkpoint has no readable manifest',
    ]);
  });

  it('when an attempt computed differently, which is named', () => {
    const attempts = [
      { epoch: 1, ended: 'preempted', fingerprint: { cpu: 'a', threads: 1 } },
      { epoch: 2, ended: 'done', fingerprint: { cpu: 'b', threads: 1, cores: 2 } },
    ];
    expect(faults([trained({ attempts })])).toEqual([
      'numerics fingerprint: attempt 2 differs in cpu, cores',
    ]);
  });

  it('when a stage did not finish, or is not there', () => {
    const attempts = [{ epoch: 1, ended: 'unknown', fingerprint: null }];
    expect(faults([{ kind: 'unfinished', folder: '02-stage-1', attempts }])).toEqual([
      'finished: not in the disturbed run; 1 attempt: unknown',
    ]);
    expect(faults([])).toHaveLength(1);
    expect(faults([], [])).toEqual(['stages: the undisturbed run has no stage with a job']);
  });

  it('when an evaluation gave other answers', () => {
    expect(faults([{ ...evaluated, answersDigest: 'sha256:others' }], [evaluated])).toEqual([
      'answers: answers differ',
    ]);
  });
});
