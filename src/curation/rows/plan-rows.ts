/** From a dataset's plan to the rows of each of its parts. */
import { join } from 'node:path';
import { mixPartName } from '../../domain/walk/datasets.js';
import type { DatasetPlan, HeldOutDatasetPlan, TrainingDatasetPlan } from '../../domain/walk/datasets.js';
import type { OpenDomain } from '../read/domains.js';
import { CurationError } from '../errors.js';
import { cutIntoUnits } from './long-pieces.js';
import type { CutRule, LongPart } from './long-pieces.js';
import type { LookupDocuments } from './lookups.js';
import {
  ChatRows,
  InterleavedRows,
  LookupRows,
  PackedRows,
  PieceRows,
  trainableDialogues,
} from './row-sources.js';
import type { RowSource } from './row-sources.js';
import { apportion, slotOrder } from './slots.js';
import type { OffsetList, Spool } from '../tokens/spool.js';
import type { TokenisedDomain } from '../tokens/tokenise.js';

/** A part of a dataset: so many rows of one domain, at one document length. */
export interface DatasetPart {
  /** "code@4096": what its rows name as their domain. */
  readonly name: string;
  readonly rows: number;
  readonly source: RowSource;
  /** Dialogues left out, because a row's length of them has nothing to train on. */
  readonly untrainedDocuments: number;
}

/** A domain with its text. */
export interface DomainText {
  readonly domain: OpenDomain;
  readonly text: TokenisedDomain;
}

/** What rows are made with. */
export interface RowContext {
  readonly plan: DatasetPlan;
  readonly domains: ReadonlyMap<string, DomainText>;
  readonly lookups: LookupDocuments;
  readonly seed: number;
  /** Of domains with several lengths. */
  readonly cut: CutRule;
  /** A folder for lists, removed afterwards. */
  readonly scratchFolder: string;
}

/** Names of the domains a dataset reads, each once. */
export function domainsOf(plan: DatasetPlan): string[] {
  return plan.purpose === 'training'
    ? [...new Set(plan.mix.map(({ domain }) => domain))]
    : [...new Set(plan.domains)];
}

/**
 * The parts of a dataset in the order of its plan.
 * @throws CurationError (data) when a part has no text long enough.
 */
export function partsOf(context: RowContext): DatasetPart[] {
  const { plan } = context;
  return plan.purpose === 'training' ? trainingParts(plan, context) : heldOutParts(plan, context);
}

interface PlannedPart {
  readonly name: string;
  readonly domain: string;
  /** null: documents of any length, packed. */
  readonly lengthTokens: number | null;
  readonly rows: number;
}

function trainingParts(plan: TrainingDatasetPlan, context: RowContext): DatasetPart[] {
  const rows = apportion(
    plan.mix.map(({ share }) => share),
    plan.rows,
  );
  const planned = plan.mix.map((part, index) => ({
    name: mixPartName(part, plan.mix),
    domain: part.domain,
    lengthTokens: part.lengthTokens,
    rows: rows[index] ?? 0,
  }));
  const { sources, untrained } = textSources(planned, plan, context);
  return planned.map((part) => ({
    name: part.name,
    rows: part.rows,
    source: withLookups(part, plan, sources, context),
    untrainedDocuments: untrained.get(part) ?? 0,
  }));
}

/** The text of parts, and how many of their dialogues were left out. */
interface PartTexts {
  readonly sources: ReadonlyMap<PlannedPart, RowSource>;
  readonly untrained: ReadonlyMap<PlannedPart, number>;
}

/** The text of each part; parts of one domain share its documents without sharing text. */
function textSources(
  planned: readonly PlannedPart[],
  plan: TrainingDatasetPlan,
  context: RowContext,
): PartTexts {
  const sources = new Map<PlannedPart, RowSource>();
  const untrained = new Map<PlannedPart, number>();
  const long = planned.filter(({ lengthTokens }) => lengthTokens !== null);
  for (const name of new Set(long.map(({ domain }) => domain))) {
    const { domain, text } = required(context, name);
    if (domain.lookupShare === 1) continue;
    const parts = long.filter((part) => part.domain === name);
    const wanted = longParts(parts, plan.sequenceLengthTokens, domain.lookupShare, context);
    const pieces = cutIntoUnits(text.training, wanted, context.cut);
    parts.forEach((part, index) => {
      const list = pieces[index];
      const length = part.lengthTokens;
      if (list === undefined || length === null) return;
      if (list.length === 0)
        throw tooShort(part.name, `no document of ${length} tokens${leftByLonger(parts, context)}`);
      const seed = `${context.seed}/${plan.name}/${part.name}`;
      sources.set(part, new PieceRows(text.training, list, length, plan.sequenceLengthTokens, seed));
    });
  }
  for (const part of planned.filter(({ lengthTokens }) => lengthTokens === null)) {
    const { domain, text } = required(context, part.domain);
    if (domain.lookupShare === 1) continue;
    const spool = text.training;
    if (spool.size.documents === 0) throw tooShort(part.name, 'no document');
    const seed = `${context.seed}/${plan.name}/${part.name}`;
    if (!plan.masked) {
      sources.set(part, new PackedRows(spool, plan.sequenceLengthTokens, seed));
      continue;
    }
    const dialogues = dialoguesOf(part, plan, domain, spool, context);
    sources.set(part, new ChatRows(spool, dialogues, plan.sequenceLengthTokens, seed));
    untrained.set(part, spool.size.documents - dialogues.length);
  }
  return { sources, untrained };
}

/** Why a shorter length may have nothing, and what gives it something. */
function leftByLonger(parts: readonly PlannedPart[], { cut }: RowContext): string {
  return parts.length > 1 && cut === 'longest-first'
    ? ' that longer lengths leave (data.cut: "by-share" shares them out)'
    : '';
}

function longParts(
  parts: readonly PlannedPart[],
  rowTokens: number,
  lookupShare: number,
  context: RowContext,
): LongPart[] {
  return parts.map(({ name, rows, lengthTokens }) => {
    const length = lengthTokens ?? rowTokens;
    if (rowTokens % length !== 0)
      throw new CurationError(
        'user-error',
        `${name}: documents of ${length} tokens don't fill rows of ${rowTokens}`,
      );
    const file = join(context.scratchFolder, `${encodeURIComponent(name)}.pieces`);
    return { lengthTokens: length, tokens: Math.max(1, rows * (1 - lookupShare)) * rowTokens, file };
  });
}

function dialoguesOf(
  part: PlannedPart,
  plan: TrainingDatasetPlan,
  domain: OpenDomain,
  spool: Spool,
  context: RowContext,
): OffsetList {
  if (!domain.masked)
    throw new CurationError(
      'user-error',
      `data.sources.${part.domain}: SFT learns from dialogues, and these are texts`,
    );
  const file = join(context.scratchFolder, `${encodeURIComponent(part.name)}.dialogues`);
  const dialogues = trainableDialogues(spool, plan.sequenceLengthTokens, file);
  if (dialogues.length > 0) return dialogues;
  dialogues.close();
  throw new CurationError(
    'data',
    `${part.name}: the first answer of every dialogue begins beyond ${plan.sequenceLengthTokens} tokens, the length of a row, so there is nothing to train on; ask for longer rows or add sources`,
  );
}

/** Puts a domain's lookup tables among its text. */
function withLookups(
  part: PlannedPart,
  plan: TrainingDatasetPlan,
  text: ReadonlyMap<PlannedPart, RowSource>,
  context: RowContext,
): RowSource {
  const { lookupShare } = required(context, part.domain).domain;
  const ofText = text.get(part);
  if (lookupShare === 0 && ofText !== undefined) return ofText;
  const length = part.lengthTokens ?? plan.sequenceLengthTokens;
  const seed = `${context.seed}/${plan.name}/${part.name}/lookups`;
  const lookups = new LookupRows(context.lookups, length, plan.sequenceLengthTokens, seed);
  if (ofText === undefined) return lookups;
  return new InterleavedRows(
    [ofText, lookups],
    slotOrder(apportion([1 - lookupShare, lookupShare], part.rows)),
  );
}

/** Held-out rows are never repeated: where a domain has fewer, the dataset is shorter. */
function heldOutParts(plan: HeldOutDatasetPlan, context: RowContext): DatasetPart[] {
  const length = plan.sequenceLengthTokens;
  const rows = apportion(
    plan.domains.map(() => 1),
    plan.rows,
  );
  return plan.domains.flatMap((name, index) => {
    const { text } = required(context, name);
    const file = join(context.scratchFolder, `${encodeURIComponent(name)}.pieces`);
    const [pieces] = cutIntoUnits(text.heldOut, [{ lengthTokens: length, tokens: 1, file }], context.cut);
    const wanted = rows[index] ?? 0;
    if (wanted === 0) return [];
    if (pieces === undefined || pieces.length === 0)
      throw tooShort(name, `no held-out document of ${length} tokens`);
    const source = new PieceRows(
      text.heldOut,
      pieces,
      length,
      length,
      `${context.seed}/${plan.name}/${name}`,
    );
    return [{ name, rows: Math.min(wanted, pieces.length), source, untrainedDocuments: 0 }];
  });
}

function required(context: RowContext, name: string): DomainText {
  const found = context.domains.get(name);
  if (found === undefined)
    throw new CurationError('user-error', `there are no sources for the domain "${name}"`);
  return found;
}

function tooShort(part: string, lacks: string): CurationError {
  return new CurationError(
    'data',
    `${part}: there is ${lacks} after the held-out split; add sources or ask for shorter documents`,
  );
}
