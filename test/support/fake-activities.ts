/** Activities that answer at once, for tests of the workflow code alone. What they are called with is recorded. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import type {
  AttemptEnd,
  EndedAttempt,
  FinishedOutcome,
  RunAttemptInput,
} from '../../activities/attempt/types.js';
import type { AppendInput, RecordedAction } from '../../activities/ledger/index.js';
import { createChildActivities } from '../../activities/attempt/children.js';
import type { StageHistory } from '../../activities/attempt/children.js';
import type { CuratedDataset, CurateInput } from '../../activities/curate.js';
import type { PreparedRun, PrepareInput } from '../../activities/prepare/index.js';
import type { WrittenReport } from '../../activities/report.js';
import type { ConfigRef, RopeBumpInput } from '../../activities/rope-bump.js';
import type { StageJobs } from '../../activities/attempt/stage-jobs.js';
import { commitIdSchema, digestSchema, epochSchema } from '../../src/contracts/index.js';
import type { JobSpec } from '../../src/contracts/index.js';
import { digestOf } from '../../src/domain/lib/digest.js';
import type { LedgerEntry } from '../../src/domain/ledger/records.js';
import type { LedgerTip } from '../../src/domain/run/status.js';
import { ObjectStore } from '../../src/store/object-store.js';
import type { ReportRequest } from '../../src/report/data/request.js';

/** A digest that tells what it stands for. */
export function fakeDigest(of: unknown) {
  return digestSchema.parse(digestOf(of));
}

const modelOf = (name: string) => ({ url: `s3://bucket/models/${name}`, digest: fakeDigest(name) });
const NO_STORE = ObjectStore.connect({ region: 'none' });
const NOW = '2026-01-01T00:00:00.000Z';
const SECONDS = { import: 0, load: 0, firstStep: 0, step: 0, save: 0, evaluate: 0, export: 0 };

/** The outcome that the trainer would write for a spec. */
export function fakeOutcome(spec: JobSpec, epoch: number): FinishedOutcome {
  const common = {
    schema: 'longhaul.outcome/1' as const,
    epoch: epochSchema.parse(epoch),
    startedAt: NOW,
    endedAt: NOW,
    seconds: SECONDS,
    fingerprint: {},
  };
  if (spec.kind === 'evaluate') {
    const resultsDigest = fakeDigest(spec.stage);
    return {
      ...common,
      result: 'evaluated',
      step: 0,
      tokens: 0,
      samples: 12,
      reusedSamples: 0,
      resultsDigest,
    };
  }
  const { steps, globalBatchTokens } = spec.data;
  const id = commitIdSchema.parse(
    `${String(steps).padStart(8, '0')}-${String(epoch).padStart(4, '0')}-00000000`,
  );
  const tokens = steps * globalBatchTokens;
  return {
    ...common,
    result: 'trained',
    step: steps,
    tokens,
    commit: { id, step: steps, tokens, manifestDigest: fakeDigest([spec.stage, 'manifest']) },
    model: modelOf(spec.stage),
    weightsDigest: fakeDigest([spec.stage, 'weights']),
    firstLoss: 4,
    lastLoss: 3,
  };
}

/**
 * What may be said about a failed attempt; the rest is of no account. Or: it is refused; it runs until it is told to stop, and then
 * has saved, saves until it is told that it has, or fails as a store that is down makes it fail; it runs until a promise says how it
 * failed.
 */
export type FakeEnd =
  | Partial<EndedAttempt>
  | Promise<Partial<EndedAttempt>>
  | ApplicationFailure
  | 'until-stopped'
  | 'until-told'
  | 'fails-when-stopped';

function fakeEnd(end: Partial<EndedAttempt>): EndedAttempt {
  return {
    state: 'ended',
    epoch: 1,
    class: 'unknown',
    message: 'it broke',
    signature: randomUUID(),
    progressed: false,
    step: 0,
    node: null,
    checkpoints: [],
    logTail: [],
    seconds: { ...SECONDS, queued: 0, hung: 0, stopping: 0 },
    wallSeconds: 1,
    watchdog: {},
    ledger: { records: 0, tip: null },
    ...end,
  };
}

/** Heartbeats until a promise is kept. */
async function heartbeatingUntil<T>(kept: Promise<T>): Promise<T> {
  const context = Context.current();
  const beat = setInterval(() => context.heartbeat(), 50);
  try {
    return await kept;
  } finally {
    clearInterval(beat);
  }
}

/** Heartbeats until the activity is cancelled, as a job would train on; then it has saved and stopped. */
async function stopOf(saved: () => Promise<unknown>): Promise<Partial<EndedAttempt>> {
  const { cancelled } = Context.current();
  await heartbeatingUntil(cancelled.catch(saved));
  return { class: 'cancelled', message: 'the job was stopped as asked', progressed: true };
}

/** Fake activities with a record of their calls. */
export class FakeActivities {
  readonly calls: string[] = [];
  readonly specs = new Map<string, JobSpec>();
  readonly bumps: RopeBumpInput[] = [];
  readonly attempts: RunAttemptInput[] = [];
  /** The stages' ledgers: how attempts ended, by folder. */
  readonly stages = new Map<string, { readonly records: number; readonly end: EndedAttempt }[]>();
  /** The run's ledger. */
  readonly ledger: LedgerEntry[] = [];
  /** A record is written once this says so. */
  beforeRecord: (entry: LedgerEntry) => Promise<void> = () => Promise.resolve();
  /** Checkpoints that the store has, whatever stage is asked for. */
  readonly checkpoints = ['00000020-0002-0123abcd', '00000010-0001-0123abcd'];
  /** Says `now` when jobs that save are done. */
  readonly saved = new EventEmitter();
  report: ReportRequest | undefined;
  /** How attempts end, in order, by stage folder; when there are no more, with success. */
  readonly ends = new Map<string, FakeEnd[]>();

  /** As a worker registers them. */
  get activities() {
    return {
      prepareRun: (input: PrepareInput) => Promise.resolve(this.prepareRun(input)),
      curateDataset: (input: CurateInput) => Promise.resolve(this.curateDataset(input)),
      bumpRopeBase: (input: RopeBumpInput) => Promise.resolve(this.bumpRopeBase(input)),
      runAttempt: (input: RunAttemptInput) => this.runAttempt(input),
      stopStageJobs: ({ stageUrl }: StageJobs) => {
        this.calls.push(`stop jobs of ${stageUrl.split('/').at(-1) ?? ''}`);
        return Promise.resolve([]);
      },
      appendToLedger: async (input: AppendInput) => {
        await this.beforeRecord(input.entry);
        return this.appendToLedger(input);
      },
      // Temporal alone knows: the real one.
      childState: createChildActivities({ store: NO_STORE }).childState,
      readCheckpoints: (of: { readonly stageUrl: string }) => {
        this.calls.push(`list checkpoints below ${of.stageUrl}`);
        return Promise.resolve([...this.checkpoints]);
      },
      stageHistory: (of: { readonly stageUrl: string; readonly after: number }) =>
        Promise.resolve(this.stageHistory(of)),
      recordedActions: (of: { readonly runUrl: string }) => Promise.resolve(this.recordedActions(of)),
      writeReport: (input: ReportRequest) => Promise.resolve(this.writeReport(input)),
    };
  }

  private prepareRun({ run }: PrepareInput): PreparedRun {
    this.calls.push('prepare');
    return {
      rootUrl: 's3://bucket/dev',
      runUrl: `s3://bucket/dev/runs/${run}`,
      base: modelOf('base'),
      tokenizer: modelOf('base'),
      baseConfig: { url: 's3://bucket/models/base/config.json', digest: fakeDigest('base config') },
    };
  }

  private curateDataset({ dataset }: CurateInput): CuratedDataset {
    this.calls.push(`curate ${dataset.name}`);
    const { name, rows, sequenceLengthTokens } = dataset;
    const ref = { manifestUrl: `s3://bucket/dev/datasets/${name}/manifest.json`, digest: fakeDigest(name) };
    return { name, ref, rows, tokens: rows * sequenceLengthTokens, adopted: false };
  }

  private bumpRopeBase(input: RopeBumpInput): ConfigRef {
    this.calls.push(`bump to ${input.bump.newTheta}`);
    this.bumps.push(input);
    return { url: `${input.stageUrl}/config.json`, digest: fakeDigest(input.bump) };
  }

  private async runAttempt(input: RunAttemptInput): Promise<AttemptEnd> {
    const { folder, spec, ledger } = input;
    this.calls.push(`run ${folder}`);
    this.specs.set(folder, spec);
    this.attempts.push(input);
    const epoch = this.attempts.filter((attempt) => attempt.folder === folder).length;
    const end = this.ends.get(folder)?.shift();
    const tip: LedgerTip = { records: ledger.records + 2, tip: fakeDigest([folder, epoch]) };
    const told = (ended: Partial<EndedAttempt>): EndedAttempt => {
      const whole = { ...fakeEnd(ended), epoch, ledger: tip };
      this.stages.set(folder, [...(this.stages.get(folder) ?? []), { records: tip.records, end: whole }]);
      return whole;
    };
    if (end === 'until-stopped' || end === 'until-told' || end === 'fails-when-stopped') {
      const saved = once(this.saved, 'now');
      const stopped = await stopOf(() => (end === 'until-told' ? saved : Promise.resolve()));
      if (end === 'fails-when-stopped') throw new Error('the store answered 503');
      return told(stopped);
    }
    if (end instanceof ApplicationFailure) throw end;
    if (end instanceof Promise) return told(await heartbeatingUntil(end));
    if (end !== undefined) return told(end);
    return {
      state: 'done',
      outcome: fakeOutcome(spec, epoch),
      stageUrl: spec.stageUrl,
      adopted: null,
      ledger: tip,
    };
  }

  private appendToLedger({ entry, after }: AppendInput): LedgerTip {
    this.ledger.push(entry);
    return { records: after.records + 1, tip: fakeDigest([after.tip, entry]) };
  }

  private stageHistory({
    stageUrl,
    after,
  }: {
    readonly stageUrl: string;
    readonly after: number;
  }): StageHistory {
    const folder = stageUrl.split('/').at(-1) ?? '';
    const told = (this.stages.get(folder) ?? []).filter(({ records }) => records > after);
    return {
      begun: told.length,
      ended: told.map(({ end }) => end),
      ledger: { records: told.at(-1)?.records ?? after, tip: fakeDigest([folder, told.length]) },
    };
  }

  private recordedActions({ runUrl }: { readonly runUrl: string }): RecordedAction[] {
    this.calls.push(`look for actions below ${runUrl}`);
    return this.ledger.flatMap((entry, index) =>
      entry.type === 'action' && entry.updateId !== undefined && entry.repeats === undefined
        ? [{ updateId: entry.updateId, record: index + 1 }]
        : [],
    );
  }

  private writeReport(request: ReportRequest): WrittenReport {
    this.calls.push('report');
    this.report = request;
    return { url: `${request.runUrl}/report/index.html`, digest: fakeDigest(request.run) };
  }
}
