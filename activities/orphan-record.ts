/** What the ledger is told of an attempt whose workflow could not tell it: terminated, or gone. */
import { EXIT_CODES, attemptSchema, epochSchema } from '../src/contracts/index.js';
import type { JobEvent, Outcome } from '../src/contracts/index.js';
import { classifyEnd } from '../src/domain/attempt-end.js';
import type { EndVerdict } from '../src/domain/attempt-end.js';
import type { JobLabels } from '../src/domain/job-labels.js';
import { checkChain } from '../src/domain/ledger-chain.js';
import { attemptLeft } from '../src/store/anchors.js';
import { readEventFiles, readOutcome } from '../src/store/attempt-files.js';
import { commitsOf, readHead } from '../src/store/head.js';
import { stageLayout } from '../src/store/layout.js';
import { appendRecord, readChain } from '../src/store/ledger.js';
import type { ObjectStore } from '../src/store/object-store.js';
import { figuresOf } from './attempt-figures.js';
import { commitOf } from './attempt-job.js';
import type { JobEnd, JobFacts } from './attempt-job.js';
import { commitsMade } from './attempt-run.js';

/**
 * Appends the end of an attempt to its stage's chain, once. False: the chain has it already, or there is no chain or no
 * attempt to record. `stopped`: why the janitor stopped the job; null: it ended by itself.
 */
export async function recordEnd(
  store: ObjectStore,
  { stageUrl, epoch: number }: JobLabels,
  ended: JobEnd['ended'],
  { stopped, why }: { readonly stopped: boolean; readonly why: string },
): Promise<boolean> {
  const layout = stageLayout(stageUrl);
  const epoch = epochSchema.parse(number);
  const { links, tip } = checkChain(await readChain(store, layout.ledger));
  const isRecorded = links.some(
    ({ record }) => record?.entry.type === 'attempt-ended' && record.entry.epoch === epoch,
  );
  const attempt = await store.findJson(layout.attemptFile(epoch), attemptSchema);
  if (tip.records === 0 || isRecorded || attempt === null) return false;
  const outcome = await readOutcome(store, stageUrl, epoch);
  const facts = factsOf((await readEventFiles(store, stageUrl, epoch)).flatMap(({ events }) => events));
  const evaluated = outcome?.result === 'evaluated';
  const [head, left] = await Promise.all([
    readHead(store, stageUrl),
    attemptLeft(store, { stageUrl, epoch, evaluated }),
  ]);
  const { owner, createdAt } = attempt.value;
  const end: JobEnd = { ended, stop: null, stoppingSeconds: 0, hungSeconds: 0 };
  // The same id as the attempt's own watcher would use: should it be about to record the end too, one record remains.
  await appendRecord(store, layout.ledger, {
    id: `${owner}#ended`,
    after: tip,
    entry: {
      type: 'attempt-ended',
      epoch,
      ...verdictOf(outcome, ended, stopped ? why : null),
      ...figuresOf({ claimedAt: createdAt }, outcome, facts, end),
      commits: commitsMade(epoch, commitsOf(head.value), facts.commits),
      left,
      note: `recorded by the janitor: ${why}`,
    },
  });
  return true;
}

function verdictOf(
  outcome: Outcome | null,
  ended: JobEnd['ended'],
  stoppedBecause: string | null,
): Omit<EndVerdict, 'class'> & { readonly class: EndVerdict['class'] | 'done' } {
  if (outcome !== null && outcome.result !== 'ended') return { class: 'done', message: '', signature: '' };
  if (stoppedBecause !== null) return { class: 'cancelled', message: stoppedBecause, signature: 'orphan' };
  return classifyEnd({ ...ended, outcome, exitCodes: EXIT_CODES });
}

function factsOf(events: readonly JobEvent[]): JobFacts {
  const steps = events.filter((event) => event.type === 'step');
  const newest = steps.at(-1);
  return {
    commits: events.flatMap((event) => (event.type === 'commit' ? [commitOf(event)] : [])),
    samples: events.filter((event) => event.type === 'sample').at(-1)?.done ?? 0,
    stepSeconds: steps.reduce((sum, { seconds }) => sum + seconds, 0),
    step: newest?.step ?? 0,
    tokens: newest?.tokens ?? 0,
  };
}
