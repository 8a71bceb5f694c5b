/** Checks of the ledger itself: its chains, the seals that a run's chain puts on its stages', and the recipe it speaks of. */
import { tipProblem } from '../domain/ledger/chain.js';
import type { ChainLink, ChainProblem, CheckedChain } from '../domain/ledger/chain.js';
import type { EntryOf } from '../domain/ledger/records.js';
import { ledgerRecordUrl, objectUrl, runLayout, stageLayout } from '../contracts/layout.js';
import { checkOf } from './audit-data.js';
import type { Check, Difference } from './audit-data.js';
import { recordsOf, startedFolders } from './gathered.js';
import type { GatheredRun, GatheredStage } from './gathered.js';

/** Every chain is whole: numbered without gaps, each record with the digest of the one before. */
export function checkChains(run: GatheredRun): Check {
  const chains = [
    { url: runLayout(run.runUrl).ledger, chain: run.chain },
    ...run.stages.map(({ url, chain }) => ({ url: stageLayout(url).ledger, chain })),
  ].filter(({ chain }) => chain.tip.records > 0 || chain.problems.length > 0);
  const records = chains.reduce((sum, { chain }) => sum + chain.links.length, 0);
  const differences = chains.flatMap(({ url, chain }) => chain.problems.map((problem) => at(url, problem)));
  const empty = run.chain.links.length === 0;
  const missing = { object: runLayout(run.runUrl).ledger, message: 'holds no record: the run has no ledger' };
  return checkOf(
    'ledger',
    `${count(records, 'record')} in ${count(chains.length, 'chain')}`,
    empty ? [missing, ...differences] : differences,
  );
}

function at(chainUrl: string, { object, message }: ChainProblem): Difference {
  return { object: objectUrl(chainUrl, object), message };
}

/** "1 record", "2 records". */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString('en-US')} ${noun}${number === 1 ? '' : 's'}`;
}

/** What the run's chain says of its stages' chains is so, and no stage is unknown to it. */
export function checkSeals(run: GatheredRun): Check {
  const known = new Set(startedFolders(run));
  const sealed = recordsOf(run.chain, 'stage-ended').filter(({ entry }) => entry.chain !== null);
  const strangers = run.stages
    .filter(({ folder }) => !known.has(folder))
    .map(({ url }) => ({ object: url, message: 'holds objects of a stage that the ledger does not know' }));
  const broken = run.stages.flatMap((stage) => sealsOf(run, stage));
  const { differences, notes } = collect(broken);
  return checkOf(
    'seals',
    `${count(sealed.length, 'seal')} of the run’s chain on its stages’ chains`,
    [...strangers, ...differences],
    notes,
  );
}

type Finding = { readonly difference: Difference } | { readonly note: string };

function collect(findings: readonly Finding[]): { differences: Difference[]; notes: string[] } {
  return {
    differences: findings.flatMap((one) => ('difference' in one ? [one.difference] : [])),
    notes: findings.flatMap((one) => ('note' in one ? [one.note] : [])),
  };
}

/** Results after which a stage's chain is finished, unless the stage is started again. */
const FINAL: ReadonlySet<string> = new Set(['done', 'adopted']);

function sealsOf(run: GatheredRun, { folder, url, chain }: GatheredStage): Finding[] {
  const ended = recordsOf(run.chain, 'stage-ended').filter(({ entry }) => entry.folder === folder);
  const started = recordsOf(run.chain, 'stage-started').filter(({ entry }) => entry.folder === folder);
  const ledger = stageLayout(url).ledger;
  const broken = ended.flatMap(({ entry }): Finding[] => {
    const problem = entry.chain === null ? null : tipProblem(chain, entry.chain);
    return problem === null ? [] : [{ difference: at(ledger, problem) }];
  });
  const last = ended.at(-1);
  const isLast = last !== undefined && last.index > (started.at(-1)?.index ?? 0);
  return isLast ? [...broken, ...grown(ledger, chain, last.entry)] : broken;
}

/**
 * Records behind the last seal: of a finished stage nobody writes any, but the end of an attempt whose workflow was cut off,
 * which the janitor records when it finds it.
 */
function grown(
  ledger: string,
  { links }: CheckedChain,
  { chain: seal, result }: EntryOf<'stage-ended'>,
): Finding[] {
  const sealed = seal?.records ?? 0;
  const inside = links.filter(({ index }) => index <= sealed);
  const more = links.filter(({ index }) => index > sealed);
  const late = lateEnds(inside, more);
  if (more.length === 0) return [];
  const where = sealed === 0 ? 'without a seal' : 'behind the last seal';
  const message = `has ${count(more.length, 'record')} ${where}; the stage is ${result}`;
  return FINAL.has(result) && late.length < more.length
    ? [{ difference: { object: ledger, message } }]
    : [{ note: `${ledger} ${message}` }];
}

/** Ends of attempts that were opened before and had none, each under the id that its own watcher would have used. */
function lateEnds(inside: readonly ChainLink[], behind: readonly ChainLink[]): ChainLink[] {
  const open = new Map<number, string>();
  for (const { record } of inside) {
    if (record?.entry.type === 'attempt-opened')
      open.set(record.entry.epoch, record.id.replace(/#.*$/, '#ended'));
    if (record?.entry.type === 'attempt-ended') open.delete(record.entry.epoch);
  }
  return behind.filter(
    ({ record }) => record?.entry.type === 'attempt-ended' && open.get(record.entry.epoch) === record.id,
  );
}

const NOT_CANONICAL = 'is not in the bytes a recipe is frozen in: it may say something twice';

/** The frozen recipe is the one that the ledger names, and the prefix belongs to the workflow that opened the run. */
export function checkRecipe(run: GatheredRun): Check {
  const object = runLayout(run.runUrl).recipe;
  const owned = ownerDifferences(run);
  if (run.recipe === null) {
    return checkOf('recipe', object, [{ object, message: 'is missing or no JSON' }, ...owned]);
  }
  const { digest, recipe } = run.recipe;
  const renamed = recordsOf(run.chain, 'run-opened')
    .filter(({ entry }) => entry.recipeDigest !== digest)
    .map(({ entry, index }) => {
      const message = `has the digest ${digest}; record ${index} of the ledger names ${entry.recipeDigest}`;
      return { object, message };
    });
  if (!run.recipe.isCanonical) renamed.push({ object, message: NOT_CANONICAL });
  const notes = recipe === null ? ['recipe.json is not a recipe of this version: cost is not reckoned'] : [];
  return checkOf('recipe', `recipe.json has the digest ${digest}`, [...renamed, ...owned], notes);
}

/** `owner.json` names whoever opened the run last. */
function ownerDifferences({ run, runUrl, owner, chain }: GatheredRun): Difference[] {
  const object = runLayout(runUrl).owner;
  const strangers = recordsOf(chain, 'run-opened')
    .filter(({ entry }) => entry.workflowId !== run)
    .map(({ index, entry }) => {
      const message = `is of the workflow ${entry.workflowId}; the prefix is that of ${run}`;
      return { object: ledgerRecordUrl(runLayout(runUrl).ledger, index), message };
    });
  if (owner === null) return [{ object, message: 'is missing: nobody owns the prefix' }, ...strangers];
  const opened = recordsOf(chain, 'run-opened').at(-1)?.entry;
  if (opened === undefined) return [];
  const compared = [
    ['the namespace', owner.namespace, opened.namespace],
    ['the workflow', owner.workflowId, opened.workflowId],
    ['the recipe', owner.recipeDigest, opened.recipeDigest],
  ] as const;
  return compared
    .filter(([, names, says]) => names !== says)
    .map(([what, names, says]) => ({ object, message: `names ${what} ${names}; the ledger says ${says}` }))
    .concat(strangers);
}
