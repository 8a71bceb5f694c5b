/** Whether a run's ledger verifies: every chain whole, every seal right, every attempt opened and ended in it. */
import { checkChain, tipProblem } from '../domain/ledger/chain.js';
import type { CheckedChain } from '../domain/ledger/chain.js';
import { readChain } from '../store/ledger.js';
import { runLayout, stageLayout } from '../contracts/layout.js';
import type { ObjectStore } from '../store/object-store.js';
import type { StageEvidence } from './evidence.js';

/** What is wrong with the ledger of a finished run; empty: it verifies. */
export async function ledgerProblems(
  store: ObjectStore,
  runUrl: string,
  stages: readonly StageEvidence[],
): Promise<string[]> {
  const layout = runLayout(runUrl);
  const run = checkChain(await readChain(store, layout.ledger));
  const problems = [...chainProblems('run', run), ...lifeProblems(run)];
  for (const stage of stages) {
    const chain = checkChain(await readChain(store, stageLayout(layout.stage(stage.folder)).ledger));
    problems.push(
      ...chainProblems(stage.folder, chain),
      ...sealProblems(stage.folder, run, chain),
      ...attemptProblems(stage, chain),
    );
  }
  return problems;
}

function chainProblems(name: string, chain: CheckedChain): string[] {
  if (chain.links.length === 0) return [`${name}: has no ledger`];
  return chain.problems.map(({ object, message }) => `${name}: ${object} ${message}`);
}

function entriesOf(chain: CheckedChain) {
  return chain.links.flatMap(({ record }) => (record === null ? [] : [record.entry]));
}

function lifeProblems(run: CheckedChain): string[] {
  if (run.links.length === 0) return [];
  const types = entriesOf(run).map(({ type }) => type);
  return (['run-opened', 'run-ended'] as const)
    .filter((type) => !types.includes(type))
    .map((type) => `run: says nothing of ${type}`);
}

/** The run's chain seals that of each stage as it was when the stage ended. */
function sealProblems(folder: string, run: CheckedChain, stage: CheckedChain): string[] {
  const seals = entriesOf(run).flatMap((entry) =>
    entry.type === 'stage-ended' && entry.folder === folder && entry.chain !== null ? [entry.chain] : [],
  );
  if (seals.length === 0) return [`${folder}: its chain is not sealed in the run's`];
  return seals.flatMap((seal) => {
    const problem = tipProblem(stage, seal);
    return problem === null ? [] : [`${folder}: ${problem.object} ${problem.message}`];
  });
}

/** Every attempt that left something in the store is in the ledger, from its opening to its end. */
function attemptProblems({ folder, attempts }: StageEvidence, chain: CheckedChain): string[] {
  const entries = entriesOf(chain);
  return attempts.flatMap(({ epoch }) =>
    (['attempt-opened', 'attempt-ended'] as const)
      .filter((type) => !entries.some((entry) => entry.type === type && entry.epoch === epoch))
      .map((type) => `${folder}: attempt ${epoch} has no record ${type}`),
  );
}
