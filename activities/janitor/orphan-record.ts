/** What the ledger is told of an attempt whose workflow could not tell it: terminated, or gone. */
import { attemptSchema, epochSchema } from '../../src/contracts/index.js';
import { factsOf } from '../../src/domain/attempt/facts.js';
import { DONE, verdictOf } from '../../src/domain/attempt/verdict.js';
import type { Backend } from '../../src/backends/backend.js';
import type { JobLabels } from '../../src/domain/attempt/labels.js';
import { checkChain } from '../../src/domain/ledger/chain.js';
import { attemptLeft } from '../../src/store/anchors.js';
import { readEventFiles, readOutcome } from '../../src/store/attempt-files.js';
import { commitsOf, readHead } from '../../src/store/head.js';
import { stageLayout } from '../../src/contracts/layout.js';
import { appendRecord, readChain } from '../../src/store/ledger.js';
import type { ObjectStore } from '../../src/store/object-store.js';
import { commitsMade, figuresOf, spanByStore } from '../attempt/figures.js';
import { LOG_LINES } from '../attempt/job.js';
import type { JobEnd } from '../attempt/job.js';

/** An end that is recorded late, and why. */
export interface LateEnd {
  /** Name of the job at its backend. */
  readonly job: string;
  readonly ended: JobEnd['ended'];
  /** Whether somebody stopped the job; else it ended by itself. */
  readonly stopped: boolean;
  /** Why nobody tells of it: its workflow is closed, or gone. */
  readonly why: string;
  /** Who records it. Default: the janitor. */
  readonly by?: string;
}

/**
 * Appends the end of an attempt to its stage's chain, once. False: the chain has it already, or there is no chain or no
 * attempt to record.
 */
export async function recordEnd(
  store: ObjectStore,
  backend: Pick<Backend, 'logs'>,
  { stageUrl, epoch: number }: Pick<JobLabels, 'stageUrl' | 'epoch'>,
  { job, ended, stopped, why, by = 'the janitor' }: LateEnd,
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
  const [head, byStore, left, logTail] = await Promise.all([
    readHead(store, stageUrl),
    spanByStore(store, stageUrl, epoch),
    attemptLeft(store, { stageUrl, epoch, evaluated }),
    backend.logs(job, LOG_LINES),
  ]);
  const { owner, createdAt } = attempt.value;
  // Nobody renewed the lease of a job that gave it up, for the same reason.
  const gaveUp = outcome?.result === 'ended' && outcome.class === 'cancelled';
  const stop = stopped || gaveUp ? ({ kind: 'orphan', why } as const) : null;
  const end: JobEnd = { ended, stop, stoppingSeconds: 0, hungSeconds: 0 };
  // The same id as the attempt's own watcher would use: should it be about to record the end too, one record remains.
  await appendRecord(store, layout.ledger, {
    id: `${owner}#ended`,
    after: tip,
    entry: {
      type: 'attempt-ended',
      epoch,
      ...(outcome !== null && outcome.result !== 'ended'
        ? DONE
        : verdictOf({ ...ended, stop, outcome, logTail })),
      ...figuresOf({ claimedAt: createdAt }, outcome, facts, end, byStore),
      commits: commitsMade(epoch, commitsOf(head.value), facts.commits),
      left,
      note: `recorded by ${by}: ${why}`,
    },
  });
  return true;
}

/** Records the ends of a stage's attempts that were stopped while the store took no record of it. */
export async function recordMissingEnds(
  store: ObjectStore,
  backend: Pick<Backend, 'observe' | 'logs'>,
  stageUrl: string,
): Promise<void> {
  const { links } = checkChain(await readChain(store, stageLayout(stageUrl).ledger));
  const entries = links.flatMap(({ record }) => (record === null ? [] : [record.entry]));
  const ended = new Set(entries.flatMap((one) => (one.type === 'attempt-ended' ? [one.epoch] : [])));
  for (const entry of entries) {
    if (entry.type !== 'attempt-opened' || ended.has(entry.epoch)) continue;
    const observation = await backend.observe(entry.job);
    if (observation.state !== 'ended') continue;
    await recordEnd(
      store,
      backend,
      { stageUrl, epoch: entry.epoch },
      {
        job: entry.job,
        ended: observation,
        stopped: true,
        why: 'it was stopped while the store could not be asked',
        by: 'the attempt after it',
      },
    );
  }
}
