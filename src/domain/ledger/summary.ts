/** What a record of the ledger says, in one short line: by it the Temporal UI names the appends on a run's timeline. */
import type { LedgerEntry } from './records.js';
import { printable, withinLimit } from '../lib/text.js';

/** Temporal takes 400 bytes; a character has three at most. */
const CHARACTERS = 100;

/** What the ledger is told by an entry. What people and failures have said in it is shown as text, and cut. */
export function entrySummary(entry: LedgerEntry): string {
  return withinLimit(printable(`Ledger: ${what(entry)}`.replace(/\s+/g, ' ')), CHARACTERS);
}

function what(entry: LedgerEntry): string {
  switch (entry.type) {
    case 'run-opened':
      return 'run opened';
    case 'run-reset':
      return `run goes on after a reset, from record ${entry.remembers}`;
    case 'run-ended':
      return `run ${entry.state}`;
    case 'stage-started':
      return `${entry.folder} started`;
    case 'stage-ended':
      return `${entry.folder} ${entry.result}`;
    case 'stage-adopted':
      return 'stage adopted';
    case 'action':
      return `${entry.action} by ${entry.actor}${entry.repeats === undefined ? '' : ', not done again'}`;
    case 'attempt-opened':
      return `attempt ${entry.epoch} opened`;
    case 'attempt-ended':
      return `attempt ${entry.epoch} ended: ${entry.class}`;
  }
}
