/** What the ledger says of attempts against the objects that the attempts left. */
import { partsOfCommitId, stageLayout } from '../contracts/layout.js';
import { commitIdSchema, epochSchema } from '../contracts/index.js';
import type { Outcome } from '../contracts/index.js';
import type { EntryOf } from '../domain/ledger/records.js';
import { checkOf } from './audit-data.js';
import type { Check, Difference } from './audit-data.js';
import { count } from './chains.js';
import { recordsOf } from './gathered.js';
import type { GatheredRun, GatheredStage } from './gathered.js';

interface Findings {
  readonly differences: Difference[];
  readonly notes: string[];
}

/**
 * Every attempt that ran is in the ledger, ended as its outcome says, and committed under its own epoch; every result that a
 * stage ended with is its attempt's.
 */
export function checkAttempts(run: GatheredRun): Check {
  const findings: Findings = { differences: [], notes: [] };
  let attempts = 0;
  for (const stage of run.stages) {
    attempts += recordsOf(stage.chain, 'attempt-opened').length;
    checkKnown(stage, findings);
    checkHead(stage, findings);
    checkEnds(stage, findings);
    checkResult(run, stage, findings);
  }
  const summary = `${count(attempts, 'attempt')} against what they left`;
  return checkOf('attempts', summary, findings.differences, findings.notes);
}

function openedEpochs(stage: GatheredStage): Set<number> {
  return new Set(recordsOf(stage.chain, 'attempt-opened').map(({ entry }) => entry.epoch));
}

function attemptUrl({ url }: GatheredStage, epoch: number): string {
  return stageLayout(url).attempt(epochSchema.parse(epoch));
}

function outcomeUrl({ url }: GatheredStage, epoch: number): string {
  return stageLayout(url).outcome(epochSchema.parse(epoch));
}

/** A claim without a job is what is left when a workflow is terminated between the two. */
function checkKnown(stage: GatheredStage, { differences, notes }: Findings): void {
  const opened = openedEpochs(stage);
  for (const { epoch, ran } of stage.attempts) {
    if (opened.has(epoch)) continue;
    const object = attemptUrl(stage, epoch);
    if (ran) differences.push({ object, message: 'is of an attempt that the ledger does not know' });
    else notes.push(`${object} was claimed and never launched`);
  }
}

function checkHead(stage: GatheredStage, { differences }: Findings): void {
  const { head, attempts, url } = stage;
  if (head === null) {
    if (attempts.length === 0) return;
    differences.push({ object: stageLayout(url).head, message: 'is missing although there were attempts' });
    return;
  }
  const known = new Set([...openedEpochs(stage), ...attempts.map(({ epoch }) => epoch)]);
  const epochs = [head.epoch, ...(head.commit === null ? [] : [partsOfCommitId(head.commit.id).epoch])];
  for (const epoch of new Set(epochs)) {
    if (epoch === 0 || known.has(epoch)) continue;
    differences.push({
      object: stageLayout(url).head,
      message: `names epoch ${epoch}, which nobody has claimed`,
    });
  }
}

function checkEnds(stage: GatheredStage, findings: Findings): void {
  const outcomes = new Map(stage.attempts.map(({ epoch, outcome }) => [epoch, outcome]));
  for (const { entry } of recordsOf(stage.chain, 'attempt-ended')) {
    checkOutcome(stage, entry, outcomes.get(entry.epoch) ?? null, findings);
    for (const { id, step } of entry.commits) {
      const parts = partsOfCommitId(commitIdSchema.parse(id));
      if (parts.epoch === entry.epoch && parts.step === step) continue;
      const object = stageLayout(stage.url).checkpoint(commitIdSchema.parse(id));
      findings.differences.push({ object, message: `is recorded as step ${step} of attempt ${entry.epoch}` });
    }
  }
}

function checkOutcome(
  stage: GatheredStage,
  entry: EntryOf<'attempt-ended'>,
  outcome: Outcome | null,
  { differences }: Findings,
): void {
  const object = outcomeUrl(stage, entry.epoch);
  const done = entry.class === 'done';
  if (outcome === null) {
    if (done) differences.push({ object, message: 'is missing; the ledger says that the attempt is done' });
    return;
  }
  if ((outcome.result !== 'ended') !== done) {
    differences.push({ object, message: `says ${outcome.result}; the ledger says ${entry.class}` });
  }
  if (outcome.tokens !== entry.tokens) {
    differences.push({ object, message: `says ${outcome.tokens} tokens; the ledger says ${entry.tokens}` });
  }
  if (outcome.result === 'trained' && outcome.step !== entry.step) {
    differences.push({ object, message: `says step ${outcome.step}; the ledger says ${entry.step}` });
  }
}

/** The artifacts of a stage that is done are those of its outcome. */
function checkResult(run: GatheredRun, stage: GatheredStage, { differences }: Findings): void {
  const ended = recordsOf(run.chain, 'stage-ended').findLast(({ entry }) => entry.folder === stage.folder);
  if (ended?.entry.result !== 'done') return;
  const outcome = stage.attempts.findLast(
    (one) => one.outcome !== null && one.outcome.result !== 'ended',
  )?.outcome;
  if (outcome === undefined || outcome === null || outcome.result === 'ended') return;
  const made =
    outcome.result === 'trained'
      ? ([
          ['model', outcome.model.digest],
          ['checkpoint', outcome.commit.manifestDigest],
        ] as const)
      : ([['results', outcome.resultsDigest]] as const);
  for (const [kind, digest] of made) {
    const artifact = ended.entry.artifacts.find((one) => one.kind === kind);
    if (artifact === undefined || artifact.digest === digest) continue;
    const message = `has the digest ${digest} by its attempt’s outcome, and ${artifact.digest} by the ledger`;
    differences.push({ object: artifact.url, message });
  }
}
