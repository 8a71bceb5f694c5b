import { describe, expect, it } from 'vitest';
import { accountFor } from '../../../src/audit/accounting.js';
import { timeLines } from '../../../src/audit/time-text.js';
import { ended, gathered, opened, seconds, stageEnded, started } from './sample.js';

describe('the table of seconds and dollars', () => {
  it('has the seven labels as columns, what is nothing as a dash, and goodput and price below', () => {
    const own = seconds({ import: 10, step: 1800, save: 90 });
    const end = ended(1, 'done', { step: 100, seconds: own, wallSeconds: 1900 });
    const run = gathered(
      [
        [0, started('01-curation', 'curation')],
        [30, stageEnded('01-curation')],
        [30, started('02-stage-1')],
        [1930, stageEnded('02-stage-1')],
      ],
      {
        '02-stage-1': [
          [30, opened(1)],
          [1930, end],
        ],
      },
    );
    expect(timeLines(accountFor(run))).toEqual([
      'Time and cost by label',
      '                  useful  replayed  queued  starting      saving  hung  parked          all',
      '  02-stage-1  30 min 0 s         –       –      10 s  1 min 30 s     –       –  31 min 40 s',
      '  all         30 min 0 s         –       –      10 s  1 min 30 s     –       –  31 min 40 s',
      '  share           94.7 %         –       –     0.5 %       4.7 %     –       –',
      '  cost             $3.60         –       –     $0.02       $0.18     –       –        $3.80',
      '  Goodput 94.7 % of all seconds, 94.7 % of those in which devices were held',
      '  Cost: 2 × H100 at $3.60 per device and hour, while a job holds them',
      '  Steps without devices took 30 s',
    ]);
  });

  it('is not there for a run that has not begun', () => {
    expect(timeLines(accountFor(gathered([])))).toEqual([]);
  });
});
