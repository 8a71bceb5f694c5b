/** What an audit finds: plain JSON, printed by `longhaul audit --json`. */
import type { LedgerEntry } from '../domain/ledger/records.js';
import type { LedgerTip } from '../domain/run/status.js';

/** Something that isn't as it should be. */
export interface Difference {
  /** URL of the object it is about; of Temporal's side, `temporal:<workflow id>/<run id>`. */
  readonly object: string;
  readonly message: string;
}

/** One thing that was verified. */
export interface Check {
  readonly name: string;
  /** What was looked at, in one line; where nothing was, why. */
  readonly summary: string;
  readonly state: 'verified' | 'different' | 'not-checked';
  readonly differences: readonly Difference[];
  /** What a reader should know and what is no difference. */
  readonly notes: readonly string[];
}

/** One thing that happened, from whichever chain. */
export interface TimelineEntry {
  readonly at: string;
  /** Stage folder; null: the run's own chain. */
  readonly folder: string | null;
  /** Number of the record in its chain. */
  readonly index: number;
  /** Workflow run that wrote it, by its owner token; null: the token names none. */
  readonly writer: string | null;
  readonly entry: LedgerEntry;
}

/** What a second can have gone into. `other` is what nobody measured: a job that was killed keeps no books. */
export const SECOND_LABELS = [
  'useful',
  'replayed',
  'queued',
  'starting',
  'saving',
  'hung',
  'parked',
  'other',
] as const;
export type SecondLabel = (typeof SECOND_LABELS)[number];
export type LabelledSeconds = Readonly<Record<SecondLabel, number>>;

/** Time of one stage that runs jobs. */
export interface StageTime {
  readonly folder: string;
  readonly attempts: number;
  readonly seconds: LabelledSeconds;
}

/** Where the time and the money went. Seconds; money in US dollars. */
export interface Accounting {
  readonly stages: readonly StageTime[];
  /** Between stages: at a gate of the recipe, or paused. Part of `parked`. */
  readonly waitingSeconds: number;
  readonly seconds: LabelledSeconds;
  readonly allSeconds: number;
  /** Useful seconds / all seconds, of the stages that run jobs; null: there were none. */
  readonly goodput: number | null;
  /** Useful seconds / seconds in which devices were held. */
  readonly goodputWhileHeld: number | null;
  /** Steps that need no devices: curation, RoPE bumps, the report. */
  readonly secondsWithoutDevices: number;
  /** By label: devices × hours × price. Nothing is held while a stage is queued or parked. null: the recipe can't be read. */
  readonly cost: CostByLabel | null;
}

/** Devices × hours × price, by what they went into. */
export interface CostByLabel {
  readonly gpu: string;
  readonly gpus: number;
  readonly pricePerGpuHour: number;
  readonly byLabel: LabelledSeconds;
  readonly total: number;
}

/** Whether the attempts of a stage can have made the same bits. */
export interface StageNumerics {
  readonly folder: string;
  /** Attempts that left a fingerprint. */
  readonly attempts: number;
  /** Attempts that ran and left none: killed before their first commit, or their commits are no longer kept. */
  readonly unknown: number;
  /** Whether those that are known are one and the same. */
  readonly identical: boolean;
  /** Attempts whose fingerprint is another than the first's, and in what. */
  readonly differing: readonly { readonly epoch: number; readonly fields: readonly string[] }[];
}

/** An audit. */
export interface Audit {
  readonly schema: 'longhaul.audit/1';
  readonly run: string;
  readonly runUrl: string;
  readonly auditedAt: string;
  /** `quick`: bulk data was compared by sizes and the store's checksums, not read. */
  readonly level: 'full' | 'quick';
  /** `not-checked`: nothing differs, but not everything could be checked. */
  readonly verdict: 'verified' | 'different' | 'not-checked';
  /** As the ledger says; `running`: it has no end. */
  readonly state: string;
  readonly recipeDigest: string | null;
  /** How far the run's own chain goes. */
  readonly ledger: LedgerTip;
  readonly openedAt: string | null;
  readonly endedAt: string | null;
  readonly timeline: readonly TimelineEntry[];
  readonly accounting: Accounting;
  readonly numerics: readonly StageNumerics[];
  readonly checks: readonly Check[];
}

/** A check from what was found. */
export function checkOf(
  name: string,
  summary: string,
  differences: readonly Difference[],
  notes: readonly string[] = [],
): Check {
  return { name, summary, state: differences.length === 0 ? 'verified' : 'different', differences, notes };
}

/** A check that was not made, and why. */
export function notChecked(name: string, why: string): Check {
  return { name, summary: why, state: 'not-checked', differences: [], notes: [] };
}
