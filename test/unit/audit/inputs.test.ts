import { describe, expect, it } from 'vitest';
import { checkInputs } from '../../../src/audit/inputs.js';
import { gathered, opened, started } from './sample.js';

describe('a ledger of an earlier version, which does not name the specs of its attempts', () => {
  it('verifies, and the audit says what nothing vouches for', () => {
    const run = gathered([[0, started('03-a')]], { '03-a': [[0, opened(1)]] });
    expect(checkInputs(run)).toMatchObject({
      state: 'verified',
      notes: ['1 attempt of an earlier version: the ledger does not name their specs’ digests'],
    });
  });
});
