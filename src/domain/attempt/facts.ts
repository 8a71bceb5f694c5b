/**
 * What a job's events tell of an attempt, folded one by one: its live progress and the record of its end are both read off these
 * facts, whoever has read the events.
 */

/** What happened in a job: the part of the job events contract that the facts are made of. */
export type AttemptEvent =
  | { readonly type: 'phase'; readonly phase: string }
  | {
      readonly type: 'step';
      readonly step: number;
      readonly tokens: number;
      readonly loss: number;
      readonly learningRate: number;
      readonly seconds: number;
    }
  | {
      readonly type: 'commit';
      readonly at: string;
      readonly commit: string;
      readonly step: number;
      readonly manifestDigest?: string | undefined;
    }
  | { readonly type: 'sample'; readonly at: string; readonly done: number; readonly total: number }
  | { readonly type: 'log'; readonly at: string; readonly level: string; readonly message: string };

/** A commit as its job told of it, and as the ledger records it; older trainers don't tell the digest of its manifest. */
export interface ToldCommit {
  readonly id: string;
  /** Optimizer steps done. */
  readonly step: number;
  /** SHA-256 of the checkpoint manifest's bytes. */
  readonly manifestDigest?: string | undefined;
}

/** What the events have told so far. */
export interface AttemptFacts {
  /** Phase the job last reported; null: none yet. */
  readonly phase: string | null;
  /** Last optimizer step done. */
  readonly step: number;
  /** Tokens consumed by the stage. */
  readonly tokens: number;
  /** Loss of the newest step, nats per token; null: no step yet. */
  readonly loss: number | null;
  readonly learningRate: number | null;
  /** Of all steps that the attempt has made. */
  readonly stepSeconds: number;
  /** Samples of an evaluation that are finished. */
  readonly samples: number;
  /** Samples in all; null: not told. */
  readonly totalSamples: number | null;
  /** In the order in which they were made. */
  readonly commits: readonly ToldCommit[];
}

/** Before the first event. */
export const NO_FACTS: AttemptFacts = {
  phase: null,
  step: 0,
  tokens: 0,
  loss: null,
  learningRate: null,
  stepSeconds: 0,
  samples: 0,
  totalSamples: null,
  commits: [],
};

/** The facts after the next event. */
export function factsWith(facts: AttemptFacts, event: AttemptEvent): AttemptFacts {
  switch (event.type) {
    case 'phase':
      return { ...facts, phase: event.phase };
    case 'step': {
      const { step, tokens, loss, learningRate, seconds } = event;
      return { ...facts, step, tokens, loss, learningRate, stepSeconds: facts.stepSeconds + seconds };
    }
    case 'commit':
      return { ...facts, commits: [...facts.commits, commitOf(event)] };
    case 'sample':
      return { ...facts, samples: event.done, totalSamples: event.total };
    case 'log':
      return facts;
  }
}

/** The facts of an attempt by all its events, in order. */
export function factsOf(events: readonly AttemptEvent[]): AttemptFacts {
  return events.reduce(factsWith, NO_FACTS);
}

function commitOf({
  commit: id,
  step,
  manifestDigest,
}: Extract<AttemptEvent, { type: 'commit' }>): ToldCommit {
  return manifestDigest === undefined ? { id, step } : { id, step, manifestDigest };
}

/** How far an attempt got: optimizer steps done; of an evaluation, samples done. */
export function stepReached({ step, samples }: Pick<AttemptFacts, 'step' | 'samples'>): number {
  return Math.max(step, samples);
}

/** Whether an attempt got its stage on: it has committed a checkpoint, or finished a sample. */
export function hasProgressed(commits: readonly unknown[], samples: number): boolean {
  return commits.length > 0 || samples > 0;
}

/** Samples that an attempt had finished, by the step and the tokens recorded of it: an evaluation has no tokens, and its steps are samples. */
export function recordedSamples({
  step,
  tokens,
}: {
  readonly step: number;
  readonly tokens: number;
}): number {
  return tokens === 0 ? step : 0;
}
