/** Activities that answer at once, for tests of the workflow code alone. What they are called with is recorded. */
import type {
  AttemptEnd,
  Claim,
  FinishedOutcome,
  OpenAttemptInput,
  RunAttemptInput,
} from '../../activities/attempt-types.js';
import type { CuratedDataset, CurateInput } from '../../activities/curate.js';
import type { PreparedRun, PrepareInput } from '../../activities/prepare.js';
import type { ConfigRef, RopeBumpInput } from '../../activities/rope-bump.js';
import { commitIdSchema, digestSchema, epochSchema } from '../../src/contracts/index.js';
import type { JobSpec } from '../../src/contracts/index.js';
import { digestOf } from '../../src/domain/digest.js';
import type { ReportRequest } from '../../src/report/request.js';

/** A digest that tells what it stands for. */
export function fakeDigest(of: unknown) {
  return digestSchema.parse(digestOf(of));
}

const modelOf = (name: string) => ({ url: `s3://bucket/models/${name}`, digest: fakeDigest(name) });
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

/** Fake activities with a record of their calls. */
export class FakeActivities {
  readonly calls: string[] = [];
  readonly specs = new Map<string, JobSpec>();
  readonly bumps: RopeBumpInput[] = [];
  readonly claims: OpenAttemptInput[] = [];
  report: ReportRequest | undefined;
  /** How attempts end, in order, by stage folder; when there are no more, with success. */
  readonly ends = new Map<string, AttemptEnd[]>();

  /** As a worker registers them. */
  get activities() {
    return {
      prepareRun: (input: PrepareInput) => Promise.resolve(this.prepareRun(input)),
      curateDataset: (input: CurateInput) => Promise.resolve(this.curateDataset(input)),
      bumpRopeBase: (input: RopeBumpInput) => Promise.resolve(this.bumpRopeBase(input)),
      openAttempt: (input: OpenAttemptInput) => Promise.resolve(this.openAttempt(input)),
      runAttempt: (input: RunAttemptInput) => Promise.resolve(this.runAttempt(input)),
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

  private openAttempt(input: OpenAttemptInput): Claim {
    const { stage } = input.spec;
    this.claims.push(input);
    this.specs.set(stage, input.spec);
    return {
      state: 'claimed',
      epoch: epochSchema.parse(this.claims.filter((claim) => claim.spec.stage === stage).length),
    };
  }

  private runAttempt({ folder, epoch }: RunAttemptInput): AttemptEnd {
    this.calls.push(`run ${folder}`);
    const end = this.ends.get(folder)?.shift();
    const spec = this.specs.get(folder);
    if (end !== undefined) return end;
    if (spec === undefined) throw new Error(`${folder} was run before it was claimed`);
    return { state: 'done', outcome: fakeOutcome(spec, epoch) };
  }

  private writeReport(request: ReportRequest): { url: string } {
    this.calls.push('report');
    this.report = request;
    return { url: `${request.runUrl}/report/index.html` };
  }
}
