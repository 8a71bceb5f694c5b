/** The state of a run as people see it, kept in one place: query, current details and search attributes read it. */
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { EMPTY_CHAIN } from '../src/domain/ledger/chain.js';
import type { AttemptProgress } from '../src/domain/run/progress.js';
import { SEARCH_ATTRIBUTES } from '../src/domain/run/search-attributes.js';
import { currentStage, seenOf } from '../src/domain/run/status.js';
import type { LedgerTip, Parked, RunState, RunStatus, StageStatus } from '../src/domain/run/status.js';
import { statusMarkdown } from '../src/domain/run/status-markdown.js';
import { firstLine } from '../src/domain/lib/text.js';

const STAGE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.stage.name, SearchAttributeType.KEYWORD);
const STATE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.state.name, SearchAttributeType.KEYWORD);
const STEP = defineSearchAttributeKey(SEARCH_ATTRIBUTES.step.name, SearchAttributeType.INT);
const LOSS = defineSearchAttributeKey(SEARCH_ATTRIBUTES.loss.name, SearchAttributeType.DOUBLE);
const PRESET = defineSearchAttributeKey(SEARCH_ATTRIBUTES.preset.name, SearchAttributeType.KEYWORD);

/** What is said of a stage that waits for a place; an attempt's progress says the same. */
const QUEUED = 'queued';

/** What a stage has before it starts. */
export type StageOutline = Pick<StageStatus, 'folder' | 'title' | 'kind' | 'steps'>;

/** What may change about a stage. */
export type StageChange = Partial<Omit<StageStatus, 'folder' | 'title' | 'kind'>>;

/** Holds the run's status and publishes every change of it. Workflow code only. */
export class RunBoard {
  #status: RunStatus;
  #published = '';
  readonly #warnings = new Map<string, readonly string[]>();

  constructor(
    outline: Pick<RunStatus, 'run' | 'preset' | 'runUrl' | 'recipeDigest'>,
    stages: readonly StageOutline[],
  ) {
    this.#status = {
      ...outline,
      state: 'running',
      stages: stages.map(waitingStage),
      startedAt: now(),
      endedAt: null,
      reportUrl: null,
      problems: [],
      warnings: [],
      parked: null,
      waitingFor: null,
      ledger: EMPTY_CHAIN,
    };
    upsertSearchAttributes([{ key: PRESET, value: outline.preset }]);
    this.#publish();
  }

  /** The status as the query answers it. */
  get status(): RunStatus {
    return this.#status;
  }

  /** A stage begins. */
  start(folder: string): void {
    const startedAt = this.#status.stages.find((stage) => stage.folder === folder)?.startedAt ?? now();
    this.#change(folder, { state: 'running', startedAt, note: '' });
  }

  /** A stage has its result: made now or adopted. */
  finish(folder: string, change: StageChange = {}): void {
    this.#change(folder, { state: 'done', endedAt: now(), secondsLeft: null, ...change });
  }

  /** A stage ended without a result. */
  fail(folder: string, state: 'failed' | 'cancelled', note: string): void {
    this.#change(folder, { state, endedAt: now(), secondsLeft: null, note });
  }

  /** Newest progress of a running stage. */
  progress(folder: string, progress: AttemptProgress): void {
    const { epoch, phase, step, steps, tokens, loss, tokensPerSecond, secondsLeft } = progress;
    const known = steps === null ? {} : { steps };
    this.#change(folder, {
      attempts: epoch,
      note: phase,
      step,
      ...known,
      tokens,
      loss,
      tokensPerSecond,
      secondsLeft,
      ...seenOf(progress),
    });
  }

  /** A stage under way waits for a place, or waits no longer. */
  queued(folder: string, queued: boolean): void {
    const stage = this.#status.stages.find((one) => one.folder === folder);
    if (stage?.state !== 'running') return;
    if (queued) this.#change(folder, { note: QUEUED });
    else if (stage.note === QUEUED) this.#change(folder, { note: '' });
  }

  /** Where the run's objects lie, known once the store was looked at. */
  locate(runUrl: string): void {
    this.#status = { ...this.#status, runUrl };
    this.#publish();
  }

  /** What people should know although nothing has failed, about one matter; it replaces what was said about it before. */
  warn(about: string, warnings: readonly string[]): void {
    this.#warnings.set(about, warnings);
    this.#status = { ...this.#status, warnings: [...this.#warnings.values()].flat() };
    this.#publish();
  }

  /** How far the ledger goes. Shown by the query alone: it changes with every record. */
  ledger(tip: LedgerTip): void {
    this.#status = { ...this.#status, ledger: tip };
  }

  /** The run waits: it is paused, or a gate is closed. */
  wait(state: 'paused' | 'waiting', waitingFor: string): void {
    this.#status = { ...this.#status, state, waitingFor };
    this.#publish();
  }

  /** The run goes on for now, and waits for its job to save and stop. */
  pausing(waitingFor: string): void {
    this.#status = { ...this.#status, waitingFor };
    this.#publish();
  }

  /** The run goes on after it has waited, or was parked. */
  goOn(): void {
    if (this.#status.state === 'running' && this.#status.waitingFor === null) return;
    this.#status = { ...this.#status, state: 'running', waitingFor: null, parked: null, problems: [] };
    this.#publish();
  }

  /** A stage is saved and stopped until the run goes on. */
  pause(folder: string, attempts: number): void {
    this.#change(folder, { state: 'waiting', attempts, secondsLeft: null, note: 'paused' });
  }

  /** A stage has used up a budget: the run waits for an operator. */
  park(parked: Parked): void {
    const { folder, class: failureClass, message, attempts } = parked;
    const note = `${failureClass}: ${firstLine(message)}`;
    const problems = [`${folder}: ${message}`];
    this.#status = { ...this.#status, state: 'parked', waitingFor: null, parked, problems };
    this.#change(folder, { state: 'parked', attempts, secondsLeft: null, note });
  }

  /** The checkpoints of the parked stage, read again. */
  checkpoints(folder: string, checkpoints: readonly string[]): void {
    const { parked } = this.#status;
    if (parked?.folder !== folder) return;
    this.#status = { ...this.#status, parked: { ...parked, checkpoints: [...checkpoints] } };
    this.#publish();
  }

  /** The run is over. */
  end(state: RunState, problems: readonly string[], reportUrl: string | null): void {
    this.#status = {
      ...this.#status,
      state,
      problems: [...problems],
      reportUrl,
      endedAt: now(),
      waitingFor: null,
      parked: null,
    };
    this.#publish();
  }

  #change(folder: string, change: StageChange): void {
    // What a job had to say is said no more once it has ended.
    const said = change.state === undefined ? {} : { warning: null };
    const stages = this.#status.stages.map((stage) =>
      stage.folder === folder ? { ...stage, ...said, ...change } : stage,
    );
    this.#status = { ...this.#status, stages };
    this.#publish();
  }

  #publish(): void {
    setCurrentDetails(statusMarkdown(this.#status));
    const stage = currentStage(this.#status);
    const published = {
      state: this.#status.state,
      stage: stage?.folder ?? null,
      step: stage?.step ?? null,
      loss: stage?.loss ?? null,
    };
    const digest = JSON.stringify(published);
    // Each upsert is an event of the history: none for a change that the attributes don't show.
    if (digest === this.#published) return;
    this.#published = digest;
    upsertSearchAttributes([
      { key: STATE, value: published.state },
      { key: STAGE, value: published.stage },
      { key: STEP, value: published.step },
      { key: LOSS, value: published.loss },
    ]);
  }
}

function waitingStage(outline: StageOutline): StageStatus {
  return {
    ...outline,
    state: 'waiting',
    step: null,
    tokens: null,
    loss: null,
    tokensPerSecond: null,
    secondsLeft: null,
    attempts: 0,
    startedAt: null,
    endedAt: null,
    note: '',
  };
}

/** Workflow time: the same in every replay. */
function now(): string {
  return new Date().toISOString();
}
