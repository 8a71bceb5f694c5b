import { describe, expect, it } from 'vitest';
import type { GatheredAttempt, GatheredCommit } from '../../../src/audit/gathered.js';
import { numericsOf } from '../../../src/audit/numerics.js';
import { commitIdSchema, digestSchema, epochSchema } from '../../../src/contracts/index.js';
import type { Outcome } from '../../../src/contracts/index.js';
import { commitAt, gathered, seconds, stage } from './sample.js';

type Fingerprint = Outcome['fingerprint'];

function attempt(epoch: number, fingerprint: Fingerprint | null): GatheredAttempt {
  if (fingerprint === null) return { epoch, ran: true, outcome: null };
  const { import: imports, load, firstStep, step, save, evaluate, export: exports } = seconds();
  const outcome: Outcome = {
    schema: 'longhaul.outcome/1',
    epoch: epochSchema.parse(epoch),
    startedAt: '2026-01-05T00:00:00.000Z',
    endedAt: '2026-01-05T00:00:00.000Z',
    seconds: { import: imports, load, firstStep, step, save, evaluate, export: exports },
    fingerprint,
    step: 0,
    tokens: 0,
    result: 'ended',
    class: 'preempted',
    message: '',
    exception: '',
    frames: [],
  };
  return { epoch, ran: true, outcome };
}

function commit(epoch: number, fingerprint: Fingerprint): GatheredCommit {
  const id = commitIdSchema.parse(commitAt(10, epoch));
  const manifestDigest = digestSchema.parse(`sha256:${'0'.repeat(64)}`);
  return { commit: { id, step: 10, tokens: 0, manifestDigest }, quarantined: false, fingerprint };
}

const EPYC = { cpu: 'EPYC', threads: 2 };
const of = (attempts: readonly GatheredAttempt[], line: readonly GatheredCommit[] = []) =>
  numericsOf({ ...gathered([]), stages: [stage('03-a', { attempts, line })] });

describe('attempts that can have made the same bits', () => {
  it('share one fingerprint, whatever the order of its fields', () => {
    expect(of([attempt(1, EPYC), attempt(2, { threads: 2, cpu: 'EPYC' })])).toEqual([
      { folder: '03-a', attempts: 2, unknown: 0, identical: true, differing: [] },
    ]);
  });

  it('those that were killed told it with what they committed', () => {
    expect(of([attempt(1, EPYC), attempt(2, null)], [commit(2, EPYC)])).toMatchObject([
      { attempts: 2, unknown: 0, identical: true },
    ]);
    expect(of([attempt(1, EPYC), attempt(2, null)], [commit(2, { ...EPYC, threads: 8 })])).toMatchObject([
      { identical: false, differing: [{ epoch: 2 }] },
    ]);
  });

  it('those that left none are counted', () => {
    expect(of([attempt(1, EPYC), attempt(2, null)])).toMatchObject([
      { attempts: 1, unknown: 1, identical: true },
    ]);
    expect(of([attempt(1, null)])).toEqual([]);
  });
});

describe('an attempt that differed is named', () => {
  it('with every field that differs, missing ones too', () => {
    const other = { cpu: 'Xeon', flags: 'x' };
    expect(of([attempt(1, EPYC), attempt(2, other), attempt(3, EPYC)])[0]?.differing).toEqual([
      { epoch: 2, fields: ['cpu: Xeon, not EPYC', 'flags: x, not nothing', 'threads: nothing, not 2'] },
    ]);
  });
});
