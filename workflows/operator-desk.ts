/**
 * What operators have asked of a run: its updates with their validators, and what follows for the walk. Handlers check, note,
 * record and answer; they never wait for a stage.
 */
import {
  ApplicationFailure,
  CancellationScope,
  condition,
  currentUpdateInfo,
  patched,
  setHandler,
} from '@temporalio/workflow';
import { runLayout } from '../src/contracts/layout.js';
import type { AttemptBudgets } from '../src/domain/attempt/policy.js';
import type { JsonObject } from '../src/domain/lib/json.js';
import {
  OPERATOR_ACTIONS,
  abortProblem,
  approveProblem,
  checkpointProblem,
  endingProblem,
  pauseProblem,
  resumeProblem,
  retryProblem,
  shapeProblem,
  skipProblem,
  stageToRepair,
} from '../src/domain/run/operator-actions.js';
import type { OperatorAction, OperatorInput, RunView } from '../src/domain/run/operator-actions.js';
import type { Recipe } from '../src/domain/recipe/schema.js';
import { overrideStage } from '../src/domain/recipe/overrides.js';
import { neededBy } from '../src/domain/walk/walk.js';
import type { Step } from '../src/domain/walk/walk.js';
import { updateOf } from './messages.js';
import { readCheckpointsSoon } from './activity-proxies.js';
import type { RunBoard } from './run-board.js';
import type { RunLedger } from './run-ledger.js';

/** What an operator wants done with a stage. */
export type Decision =
  | { readonly kind: 'retry'; readonly input: OperatorInput<'retryStage'> }
  | { readonly kind: 'skip'; readonly input: OperatorInput<'skipStage'> };

/** The stage that runs now, as far as operators can reach it. */
export interface RunningStage {
  pause(): Promise<void>;
  setBudgets(budgets: AttemptBudgets): Promise<void>;
}

/** Who ended the run, and why. */
export interface Abortion {
  readonly actor: string;
  readonly reason: string;
}

/** Takes the operators' updates of one run. */
export class OperatorDesk {
  #running: RunningStage | null = null;
  /** Whether the running stage was told to save and stop: that can't be taken back. */
  #stopping = false;
  /** The walk runs in here, so that an abort can cancel it and nothing else. */
  readonly scope = new CancellationScope();
  #recipe: Recipe;
  #paused: string | null = null;
  #aborted: Abortion | null = null;
  readonly #closedGates: Set<string>;
  readonly #decisions = new Map<string, Decision>();
  /** What a reset would have done again, in sentences. */
  readonly #repeated: string[] = [];

  constructor(
    recipe: Recipe,
    private readonly steps: readonly Step[],
    private readonly board: RunBoard,
    private readonly ledger: RunLedger,
  ) {
    this.#recipe = recipe;
    this.#closedGates = new Set(recipe.execution.approvals);
    this.#listen();
  }

  /** The stage that runs now; null between stages. */
  set running(stage: RunningStage | null) {
    this.#running = stage;
    this.#stopping = false;
  }

  /** The recipe with what operators have changed about it. */
  get recipe(): Recipe {
    return this.#recipe;
  }

  /** Who ended the run; null: nobody did. */
  get aborted(): Abortion | null {
    return this.#aborted;
  }

  /** Whether a pause is asked for. */
  get isPaused(): boolean {
    return this.#paused !== null;
  }

  /** Waits until the run is not paused and the step's gate is open. */
  async clearance(step: Step): Promise<void> {
    for (;;) {
      const hindrance = this.#hindrance(step);
      if (hindrance === null) {
        this.board.goOn();
        return;
      }
      this.board.wait(hindrance.state, hindrance.text);
      await condition(() => this.#hindrance(step)?.text !== hindrance.text);
    }
  }

  #hindrance(step: Step): { readonly state: 'paused' | 'waiting'; readonly text: string } | null {
    if (this.#paused !== null) return { state: 'paused', text: this.#paused };
    const name = stageNameOf(step);
    if (name === null || !this.#closedGates.has(name)) return null;
    return { state: 'waiting', text: `approval of ${name} (update approve, or longhaul approve)` };
  }

  /** What was decided about a stage that is still to come; it counts once. */
  takeDecision(folder: string): Decision | null {
    const decision = this.#decisions.get(folder) ?? null;
    this.#decisions.delete(folder);
    return decision;
  }

  /** Waits for what an operator decides about a parked stage. */
  async decision(folder: string): Promise<Decision> {
    await condition(() => this.#decisions.has(folder));
    const decision = this.takeDecision(folder);
    if (decision === null) throw new Error(`a decision about ${folder} was taken twice`);
    return decision;
  }

  #listen(): void {
    const { handle } = this;
    handle(
      'pause',
      (run) => pauseProblem(run),
      (input) => this.#pause(input),
    );
    handle(
      'resume',
      (run) => resumeProblem(run),
      () => this.#resume(),
    );
    handle('retryStage', retryProblem, (input) => this.#retry(input));
    handle('skipStage', skipProblem, (input) => this.#skip(input));
    handle(
      'abort',
      (run) => abortProblem(run),
      (input) => this.#abort(input),
    );
    handle('approve', approveProblem, (input) => this.#approve(input));
    handle(
      'setBudget',
      (run) => abortProblem(run),
      (input) => this.#setBudget(input),
    );
  }

  /** One update: refused by its shape or by the rules, else noted, recorded and answered. */
  private readonly handle = <A extends OperatorAction>(
    action: A,
    problemOf: (run: RunView, input: OperatorInput<A>) => string | null,
    apply: (input: OperatorInput<A>) => string | Promise<string>,
  ): void => {
    setHandler(
      updateOf(action),
      async (input: OperatorInput<A>) => {
        const updateId = currentUpdateInfo()?.id;
        const repeats = updateId === undefined ? null : await this.#recordOf(action, updateId);
        const answer = repeats === null ? await apply(input) : repeatedText(action, repeats);
        if (repeats !== null) this.#repeated.push(answer);
        this.board.warn('repeated updates', this.#repeated);
        const { actor, reason, ...detail } = input;
        await this.ledger.append({
          type: 'action',
          action,
          actor,
          actorKind: 'asserted',
          reason,
          detail: asJson(detail),
          ...(updateId === undefined ? {} : { updateId }),
          ...(repeats === null ? {} : { repeats }),
        });
        return answer;
      },
      {
        description: OPERATOR_ACTIONS[action].does,
        validator: (input: OperatorInput<A>) => {
          const run = this.#view();
          const ending = action === 'abort' ? null : endingProblem(run);
          const problem = shapeProblem(action, input) ?? ending ?? problemOf(run, input);
          if (problem !== null) throw ApplicationFailure.nonRetryable(problem, 'user-error');
        },
      },
    );
  };

  /** Where the store refuses to tell, an abort is done all the same: it may be the only way left to end the run. */
  async #recordOf(action: OperatorAction, updateId: string): Promise<number | null> {
    try {
      return await this.ledger.recordOf(updateId);
    } catch (error) {
      if (action !== 'abort') throw error;
      return null;
    }
  }

  /** Asked again while it is under way, a pause stays that of whoever asked first. */
  async #pause({ actor, reason }: OperatorInput<'pause'>): Promise<string> {
    const again = this.#paused !== null;
    this.#paused ??= `resume; paused by ${actor}: ${reason}`;
    if (this.#running === null) return 'The run pauses before its next stage.';
    if (!again) this.board.pausing(`its job to save and stop; paused by ${actor}: ${reason}`);
    if (!this.#stopping) await this.stop();
    const saves = again ? 'The run is pausing already: its job' : 'The running job';
    return `${saves} saves a checkpoint and stops; resume goes on from there.`;
  }

  /** Lets the running stage save and stop. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running?.pause();
  }

  #resume(): string {
    this.#paused = null;
    if (!this.#stopping) return 'The run goes on.';
    this.board.pausing('its job to save and stop; then it goes on');
    return 'The run goes on as soon as its job has saved and stopped.';
  }

  async #retry(input: OperatorInput<'retryStage'>): Promise<string> {
    const stage = this.#stage(input.stage);
    await this.#refuseMissing(stage.folder, input.from);
    this.#decisions.set(stage.folder, { kind: 'retry', input });
    this.#goOnIfParked(stage.folder);
    if (input.overrides !== undefined && stage.name !== null) {
      const changed = overrideStage(this.#recipe, stage.name, input.overrides);
      if (changed.ok) this.#recipe = changed.recipe;
    }
    const redo = input.force === true ? ', anew' : '';
    return `${stage.folder} is attempted again from ${startOf(input)}${redo}.`;
  }

  /**
   * The store says which checkpoints there are, not what was known when the stage parked. While it does not answer, the attempt
   * itself will find out.
   */
  async #refuseMissing(folder: string, from: OperatorInput<'retryStage'>['from']): Promise<void> {
    const { runUrl } = this.board.status;
    if (from === undefined || from === 'head' || from === 'zero' || !patched('from-is-looked-up')) return;
    const stored = await readCheckpointsSoon({ stageUrl: runLayout(runUrl).stage(folder) }).catch(() => null);
    const problem = stored === null ? null : checkpointProblem(folder, from, stored);
    if (problem !== null) throw ApplicationFailure.nonRetryable(problem, 'user-error');
  }

  #skip(input: OperatorInput<'skipStage'>): string {
    const { folder } = this.#stage(input.stage);
    this.#decisions.set(folder, { kind: 'skip', input });
    this.#goOnIfParked(folder);
    if (this.#view().stages.some((one) => one.folder === folder && one.state === 'waiting')) {
      this.board.finish(folder, { state: 'skipped', note: skipNote(input) });
    }
    return `${folder} is left out.`;
  }

  /** A run may have parked while it was to pause: whoever decides about the stage wants the run to go on. */
  #goOnIfParked(folder: string): void {
    if (this.board.status.parked?.folder === folder) this.#paused = null;
  }

  /** Whoever asked first has ended the run. */
  #abort({ actor, reason }: OperatorInput<'abort'>): string {
    this.#aborted ??= { actor, reason };
    this.ledger.endWithin(this.#recipe.execution.graceSeconds);
    this.scope.cancel();
    return 'The run stops its jobs and ends.';
  }

  #approve({ stage }: OperatorInput<'approve'>): string {
    this.#closedGates.delete(stage);
    return `${stage} may begin.`;
  }

  async #setBudget(input: OperatorInput<'setBudget'>): Promise<string> {
    const { execution } = this.#recipe;
    const attempts = { ...execution.attempts, [input.class]: input.relaunches };
    this.#recipe = { ...this.#recipe, execution: { ...execution, attempts } };
    await this.#running?.setBudgets(attempts);
    const { parked } = this.board.status;
    const stays = parked === null ? '' : ` ${parked.folder} stays parked until it is retried or skipped.`;
    return `Relaunches after ${input.class} without progress in between: ${input.relaunches}.${stays}`;
  }

  #stage(folder: string | undefined) {
    const found = stageToRepair(this.#view(), folder);
    if (typeof found === 'string') throw ApplicationFailure.nonRetryable(found, 'user-error');
    return found;
  }

  #underWay(): RunView['underWay'] {
    if (this.#aborted !== null) return 'abort';
    if (this.#running === null) return null;
    if (this.#paused !== null) return 'pause';
    return this.#stopping ? 'resume' : null;
  }

  #view(): RunView {
    const { state, stages } = this.board.status;
    return {
      state,
      recipe: this.#recipe,
      closedGates: [...this.#closedGates],
      underWay: this.#underWay(),
      stages: this.steps.map((step) => ({
        folder: step.folder,
        name: stageNameOf(step),
        kind: step.kind,
        state: stages.find(({ folder }) => folder === step.folder)?.state ?? 'waiting',
        neededBy: neededBy(this.steps, step.folder),
      })),
    };
  }
}

/** Name in the recipe of a stage that trains; null for other steps. */
function stageNameOf(step: Step): string | null {
  return step.kind === 'training' || step.kind === 'sft' ? step.stage : null;
}

/** Where a retry begins: said by the operator, else the newest checkpoint, or the start where all is made anew. */
export function startOf({ from, force }: OperatorInput<'retryStage'>): NonNullable<typeof from> {
  return from ?? (force === true ? 'zero' : 'head');
}

/** What the board shows of a stage that was left out. */
export function skipNote({ actor, reason }: OperatorInput<'skipStage'>): string {
  return `skipped by ${actor}: ${reason}`;
}

/** What is said of an update that was applied again by a reset. */
function repeatedText(action: OperatorAction, record: number): string {
  return `${action} was not done again after the reset: it was done before it (record ${record} of the ledger). Ask again if it is wanted.`;
}

function asJson(detail: object): JsonObject {
  return Object.fromEntries(Object.entries(detail));
}
