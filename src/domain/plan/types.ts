/** What a plan holds. Plain JSON. */
import type { ParameterCount, TokenFlops } from './cost.js';
import type { Reading } from '../recipe/presets/prolong-8b.js';
import type { Problem } from '../recipe/problem.js';
import type { Recipe, TrainingStage } from '../recipe/schema.js';
import type { RopeBump } from '../walk/rope.js';
import type { SchedulePoint } from '../walk/schedule.js';
import type { Step } from '../walk/walk.js';

/** Device time and money. */
export interface Effort {
  readonly flops: number;
  /** Model FLOPs utilisation reckoned with. */
  readonly mfu: number;
  /** Hours of one device. */
  readonly gpuHours: number;
  /** Hours by the clock on all devices of the recipe. */
  readonly wallHours: number;
  /** US dollars. */
  readonly cost: number;
}

/** One part of a stage's mix. */
export interface PartPlan {
  /** As in the dataset's manifest: "code@524288". */
  readonly name: string;
  readonly domain: string;
  /** null: packed, of any length. */
  readonly lengthTokens: number | null;
  readonly share: number;
  /** Expected rows; a fraction where the share is not a whole number of rows. */
  readonly rows: number;
  readonly tokens: number;
}

/** Checkpoints of a stage. */
export interface CheckpointPlan {
  /** As the recipe says, or what "auto" comes to by the recipe's assumptions. */
  readonly everySteps: number;
  /** Whether the trainer decides by what it measures. */
  readonly auto: boolean;
  readonly count: number;
  /** How many are there when the stage ends. */
  readonly kept: number;
  readonly bytesEach: number;
  readonly bytesWritten: number;
  readonly bytesKept: number;
}

/** What a preemption costs, and the share of the time that goes into steps that last. Seconds by the clock. */
export interface PreemptionPlan {
  readonly stepSeconds: number;
  readonly saveSeconds: number;
  /** Whether a save fits the recipe's grace. */
  readonly graceFits: boolean;
  /** With a grace that a save fits in: the step under way. */
  readonly mostLostWithGraceSeconds: number;
  /** Killed without a warning: the interval, and the save that was under way. */
  readonly mostLostWithoutGraceSeconds: number;
  readonly goodputWithGrace: number;
  readonly goodputWithoutGrace: number;
  /** Young's and Daly's interval for the recipe's assumptions. */
  readonly bestEverySteps: number;
  readonly bestGoodputWithoutGrace: number;
}

/** One training stage. */
export interface StagePlan {
  readonly name: string;
  readonly folder: string;
  readonly title: string;
  readonly kind: 'training' | 'sft';
  readonly from: string;
  readonly moments: TrainingStage['moments'];
  readonly documentMasking: boolean;
  readonly sequenceLengthTokens: number;
  readonly ropeTheta: number;
  /** The bump before it, if it has one. */
  readonly bump: RopeBump | null;
  readonly steps: number;
  readonly tokens: number;
  readonly rows: number;
  readonly globalBatchTokens: number;
  readonly rowsPerStep: number;
  readonly parts: readonly PartPlan[];
  readonly peak: number;
  readonly floor: number;
  readonly warmupTokens: number;
  readonly schedule: readonly SchedulePoint[];
  /** Per token, averaged over the mix. */
  readonly flopsPerToken: TokenFlops;
  readonly effort: Effort;
  readonly checkpoints: CheckpointPlan;
  /** Bytes of the model it publishes. */
  readonly exportBytes: number;
  /** Bytes of the rows it trains on. */
  readonly datasetBytes: number;
  readonly preemption: PreemptionPlan;
}

/** One evaluation. */
export interface EvaluationPlan {
  readonly name: string;
  readonly folder: string;
  readonly targets: readonly string[];
  readonly tasks: readonly string[];
  /** Samples over all targets. */
  readonly samples: number;
  /** Tokens read over all targets. */
  readonly tokens: number;
  readonly effort: Effort;
}

/** What a recipe comes to. */
export interface Plan {
  readonly recipe: string;
  readonly preset: string;
  readonly digest: string;
  readonly base: {
    readonly model: string;
    readonly lengthTokens: number;
    readonly ropeTheta: number;
    readonly parameters: ParameterCount;
  };
  readonly gpu: string;
  readonly gpus: number;
  readonly pricePerGpuHour: number;
  /** Between SIGTERM and SIGKILL, seconds. */
  readonly graceSeconds: number;
  /** What is assumed of interruptions. */
  readonly interruptions: Recipe['cost']['interruptions'];
  readonly steps: readonly { readonly folder: string; readonly title: string; readonly kind: Step['kind'] }[];
  readonly stages: readonly StagePlan[];
  readonly evaluations: readonly EvaluationPlan[];
  readonly total: {
    readonly trainedTokens: number;
    readonly flops: number;
    readonly gpuHours: number;
    readonly wallHours: number;
    readonly cost: number;
    readonly checkpoints: number;
    readonly checkpointBytesWritten: number;
    readonly checkpointBytesKept: number;
    /** Trained models as they are published. */
    readonly exportBytes: number;
    /** Curated datasets, training and held out. */
    readonly datasetBytes: number;
    /** What the run leaves in the store: the three together. */
    readonly storedBytes: number;
  };
  readonly notices: readonly Problem[];
  readonly readings: readonly Reading[];
}
