/** Runs as an audit has read them, made from their chains alone. */
import type { GatheredRun, GatheredStage } from '../../../src/audit/gathered.js';
import { checkChain, encodeRecord, recordDigest, recordName } from '../../../src/domain/ledger/chain.js';
import type { ChainObject, CheckedChain } from '../../../src/domain/ledger/chain.js';
import type { AttemptSeconds, EntryOf, LedgerEntry } from '../../../src/domain/ledger/records.js';
import { parseRecipe } from '../../../src/domain/recipe/parse.js';

const START = Date.UTC(2026, 0, 5);

/** An entry at so many seconds after the run began. */
export type Timed = readonly [seconds: number, entry: LedgerEntry];

/** A chain of entries at instants of their own. */
export function chain(entries: readonly Timed[]): CheckedChain {
  const objects: ChainObject[] = [];
  for (const [position, [seconds, entry]] of entries.entries()) {
    const before = objects.at(-1);
    const bytes = encodeRecord({
      schema: 'longhaul.ledger/1',
      index: position + 1,
      id: `ns/run/run-id#${position + 1}`,
      previous: before === undefined ? null : recordDigest(before.bytes),
      at: new Date(START + Math.round(seconds * 1000)).toISOString(),
      entry,
    });
    objects.push({ name: recordName(position + 1), bytes });
  }
  return checkChain(objects);
}

/** Seconds of an attempt, 0 but for those given. */
export function seconds(given: Partial<AttemptSeconds> = {}): AttemptSeconds {
  const none = { import: 0, load: 0, firstStep: 0, step: 0, save: 0, evaluate: 0, export: 0 };
  return { ...none, queued: 0, hung: 0, stopping: 0, ...given };
}

/** A checkpoint's name. */
export const commitAt = (step: number, epoch: number): string =>
  `${String(step).padStart(8, '0')}-${String(epoch).padStart(4, '0')}-00000000`;

/** An attempt begins. */
export function opened(epoch: number, fromStep = 0): LedgerEntry {
  const from = fromStep === 0 ? null : commitAt(fromStep, epoch - 1);
  return { type: 'attempt-opened', epoch, job: `job.${epoch}`, from, previousOwner: '', why: 'test' };
}

/** An attempt ends. `commits`: steps. */
export function ended(
  epoch: number,
  failureClass: EntryOf<'attempt-ended'>['class'],
  given: Partial<Omit<EntryOf<'attempt-ended'>, 'commits'>> & { readonly commits?: readonly number[] } = {},
): LedgerEntry {
  const { commits = [], ...rest } = given;
  return {
    type: 'attempt-ended',
    epoch,
    class: failureClass,
    message: '',
    signature: failureClass,
    step: 0,
    tokens: 0,
    seconds: seconds(),
    wallSeconds: 0,
    node: null,
    note: '',
    commits: commits.map((step) => ({ id: commitAt(step, epoch), step })),
    ...rest,
  };
}

/** A stage begins. */
export function started(folder: string, kind: EntryOf<'stage-started'>['kind'] = 'training'): LedgerEntry {
  return { type: 'stage-started', folder, kind, title: folder };
}

/** A stage ends. */
export function stageEnded(folder: string, result: EntryOf<'stage-ended'>['result'] = 'done'): LedgerEntry {
  return { type: 'stage-ended', folder, result, why: '', chain: null, artifacts: [] };
}

/** A run whose stages have these chains; two devices at $3.60 an hour, so that a second costs $0.002. */
export function gathered(
  entries: readonly Timed[],
  stages: Readonly<Record<string, readonly Timed[]>> = {},
): GatheredRun {
  const parsed = parseRecipe({ cost: { gpu: 'H100', gpus: 2, pricePerGpuHour: 3.6 } });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return {
    run: 'r',
    runUrl: 's3://bucket/runs/r',
    owner: null,
    recipe: { recipe: parsed.recipe, digest: 'sha256:', isCanonical: true },
    objects: new Map(),
    chain: chain(entries),
    stages: Object.entries(stages).map(([folder, records]) => stage(folder, { chain: chain(records) })),
    unreadable: [],
  };
}

/** A stage with nothing but what is given. */
export function stage(folder: string, given: Partial<GatheredStage> = {}): GatheredStage {
  const url = `s3://bucket/runs/r/stages/${folder}`;
  return {
    folder,
    url,
    chain: chain([]),
    specs: [],
    head: null,
    line: [],
    attempts: [],
    quarantines: [],
    ...given,
  };
}
