/** Every operator action in every state of a run: what is answered, that it happens once, and that the run can still end. */
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operate } from '../../src/cli/operate.js';
import { keysOf } from '../../src/domain/lib/record.js';
import { isOver, OPERATOR_ACTION_NAMES } from '../../src/domain/run/operator-actions.js';
import type { OperatorAction } from '../../src/domain/run/operator-actions.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import type { RunState, RunStatus } from '../../src/domain/run/status.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { statusQuery } from '../../workflows/messages.js';
import { recipe } from '../../workflows/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import type { FakeEnd } from '../support/fake-activities.js';
import { resetRun } from '../support/reset-run.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

type State =
  | 'running'
  | 'pausing'
  | 'paused'
  | 'parked'
  | 'waiting for approval'
  | 'aborting'
  | 'aborted'
  | 'terminated'
  | 'reset'
  | 'store down'
  | 'worker down';

/** What becomes of an action, and a sentence that says so. */
interface Expected {
  /** `again`: it is under way already, and stays that of whoever asked first. */
  readonly becomes: 'done' | 'again' | 'refused';
  readonly said: RegExp;
  /** Nobody is there to answer: what is said is that, and what becomes of the action shows once a worker is back. */
  readonly isUnanswered?: true;
}

const done = (said: RegExp): Expected => ({ becomes: 'done', said });
const again = (said: RegExp): Expected => ({ becomes: 'again', said });
const refused = (said: RegExp): Expected => ({ becomes: 'refused', said });

const ENDS = done(/stops its jobs and ends/);
const OPENS = done(/stage-2 may begin/);
const BUDGET = done(/Relaunches after hang .*: 9\.$/);
const NOTHING_PARKED = refused(/no stage is parked \(the run is .*\); name a stage/);
const SAVES = done(/The running job saves a checkpoint and stops; resume goes on/);
const OVER = refused(/is over \(terminated\); it takes no more actions/);
const ABORTING = refused(/is being aborted: it stops its jobs and ends/);
const ABORTED = refused(/is over \(failed\); it takes no more actions/);
const PARKED = refused(/it is parked|is parked and nothing runs.*accepted are retryStage, skipStage/);
const unanswered = (action: OperatorAction, becomes: Expected['becomes']): Expected => ({
  becomes,
  said: new RegExp(
    'No worker has answered for r-[-0-9a-f]+ in 1 s\\. ' +
      'Temporal has lately seen a worker \\(.+\\), which may have ended since, .+ See `longhaul doctor` .+' +
      `It may still take the ${action} later: look at \`longhaul status r-[-0-9a-f]+\` before you repeat it`,
  ),
  isUnanswered: true,
});
const taken = (action: OperatorAction) =>
  done(new RegExp(`has taken the ${action}; the ledger waits for the store: the store answered 503`));

const RUNNING: Record<OperatorAction, Expected> = {
  pause: SAVES,
  resume: refused(/is not paused, it is running/),
  retryStage: NOTHING_PARKED,
  skipStage: NOTHING_PARKED,
  abort: ENDS,
  approve: OPENS,
  setBudget: BUDGET,
};

/** Complete: a new action or a new state does not compile without what is expected of it. */
const EXPECTED: Record<State, Record<OperatorAction, Expected>> = {
  running: RUNNING,
  pausing: {
    ...RUNNING,
    pause: again(/is pausing already: its job saves a checkpoint and stops/),
    resume: done(/goes on as soon as its job has saved and stopped/),
  },
  paused: {
    ...RUNNING,
    pause: refused(/is paused already; resume lets it go on/),
    resume: done(/The run goes on/),
  },
  parked: {
    pause: PARKED,
    resume: PARKED,
    retryStage: done(/02-base-evaluation is attempted again from head/),
    skipStage: done(/02-base-evaluation is left out/),
    abort: ENDS,
    approve: OPENS,
    setBudget: done(
      /Relaunches after hang .*: 9\. 02-base-evaluation stays parked until it is retried or skipped\.$/,
    ),
  },
  'waiting for approval': {
    ...RUNNING,
    pause: done(/pauses before its next stage/),
    resume: refused(/is not paused, it is waiting/),
  },
  aborting: {
    pause: ABORTING,
    resume: ABORTING,
    retryStage: ABORTING,
    skipStage: ABORTING,
    abort: again(/stops its jobs and ends/),
    approve: ABORTING,
    setBudget: ABORTING,
  },
  aborted: {
    pause: ABORTED,
    resume: ABORTED,
    retryStage: ABORTED,
    skipStage: ABORTED,
    abort: ABORTED,
    approve: ABORTED,
    setBudget: ABORTED,
  },
  terminated: {
    pause: OVER,
    resume: OVER,
    retryStage: OVER,
    skipStage: OVER,
    abort: OVER,
    approve: OVER,
    setBudget: OVER,
  },
  reset: RUNNING,
  'store down': {
    ...RUNNING,
    pause: taken('pause'),
    abort: taken('abort'),
    approve: taken('approve'),
    setBudget: taken('setBudget'),
  },
  // It waits for approval, and takes what makes sense then as soon as somebody is there to take it.
  'worker down': {
    pause: unanswered('pause', 'done'),
    resume: unanswered('resume', 'refused'),
    retryStage: unanswered('retryStage', 'refused'),
    skipStage: unanswered('skipStage', 'refused'),
    abort: unanswered('abort', 'done'),
    approve: unanswered('approve', 'done'),
    setBudget: unanswered('setBudget', 'done'),
  },
};

/** More relaunches than the recipe allows. */
const HANGS = 9;

const INPUTS: Record<OperatorAction, object> = {
  pause: {},
  resume: {},
  retryStage: {},
  skipStage: {},
  abort: {},
  approve: { stage: 'stage-2' },
  setBudget: { class: 'hang', relaunches: HANGS },
};

const STAGE = '04-stage-1';
const EVALUATION = '02-base-evaluation';
/** The stage behind the gate. */
const LATER = '06-stage-2';
const BROKEN = { class: 'user-error', message: 'no such column' } as const;
const RECIPE = { ...TINY_SMOKE, execution: { approvals: ['stage-2'] } };

/** Who asks in the cell under test, and who brings runs into their states and to their ends. */
const OPERATOR = { actor: 'kim@example.org', reason: 'the cell under test' };
const DRIVER = { actor: 'robin@example.org', reason: 'the test around it' };

/** How long an answer may take that is not to come. */
const SOON_MS: Partial<Record<State, number>> = { 'store down': 5000, 'worker down': 1000 };

let environment: TestWorkflowEnvironment;

beforeAll(async () => {
  environment = await startServer();
}, 120_000);

afterAll(async () => {
  await environment.teardown();
});

/** A run on the real workflow code that is brought into a state, asked, and brought to its end. */
class Scene {
  readonly fakes = new FakeActivities();
  #isDown = false;
  readonly #held: number;

  constructor(
    readonly state: State,
    public handle: WorkflowHandle<typeof recipe>,
  ) {
    const ends: readonly FakeEnd[] = HELD[state];
    this.#held = ends.length;
    this.fakes.ends.set(STAGE, [...ends]);
    if (state === 'parked') this.fakes.ends.set(EVALUATION, [BROKEN]);
    this.fakes.beforeRecord = () =>
      this.#isDown ? Promise.reject(new Error('the store answered 503')) : Promise.resolve();
  }

  attempts(folder: string): number {
    return this.fakes.attempts.filter((attempt) => attempt.folder === folder).length;
  }

  async until(wanted: (status: RunStatus) => boolean): Promise<RunStatus> {
    for (;;) {
      const status = await this.handle.query(statusQuery);
      if (wanted(status)) return status;
      await sleep(20);
    }
  }

  inState(state: RunState): Promise<RunStatus> {
    return this.until((status) => status.state === state);
  }

  async reach(): Promise<void> {
    switch (this.state) {
      case 'parked':
        await this.inState('parked');
        return;
      case 'waiting for approval':
      case 'worker down':
        await this.inState('waiting');
        return;
      case 'running':
        return this.#runs(1);
      case 'pausing':
        await this.#runs(1);
        await this.drive('pause');
        await this.until(({ waitingFor }) => waitingFor?.includes('save and stop') === true);
        return;
      case 'paused':
        await this.#runs(1);
        await this.drive('pause');
        await this.inState('paused');
        return;
      case 'aborting':
        await this.#runs(1);
        await this.drive('abort');
        return;
      case 'aborted':
        await this.#runs(1);
        await this.drive('abort');
        await this.handle.result().catch(() => undefined);
        return;
      case 'terminated':
        await this.#runs(1);
        await this.handle.terminate();
        return;
      case 'reset':
        await this.#runs(1);
        await this.handle.terminate();
        this.handle = await resetRun(environment, this.handle, -1);
        return this.#runs(2);
      case 'store down':
        await this.#runs(1);
        this.#isDown = true;
        return;
    }
  }

  async #runs(attempt: number): Promise<void> {
    await this.until(({ stages }) => {
      const isRunning = stages.some(({ folder, state }) => folder === STAGE && state === 'running');
      return isRunning && this.attempts(STAGE) === attempt;
    });
  }

  drive(action: OperatorAction): Promise<string> {
    return operate(environment.client, this.handle.workflowId, action, { ...DRIVER, ...INPUTS[action] });
  }

  /** The answer, or the sentence with which the action was refused. */
  async ask(action: OperatorAction): Promise<{ readonly said: string; readonly isRefused: boolean }> {
    const input = { ...OPERATOR, ...INPUTS[action] };
    const run = this.handle.workflowId;
    try {
      const said = await operate(environment.client, run, action, input, SOON_MS[this.state]);
      return { said, isRefused: false };
    } catch (error) {
      return { said: String(error), isRefused: true };
    }
  }

  /** What was held back for the state comes: the job has saved, the store is back. */
  release(): void {
    this.#isDown = false;
    this.fakes.saved.emit('now');
  }

  /** Brings the run to its end by what operators can do, and says how often a gate had to be opened. */
  async end(): Promise<{ readonly state: RunState; readonly approvals: number }> {
    if (this.state === 'terminated') this.handle = await resetRun(environment, this.handle, -1);
    for (let approvals = 0; ;) {
      const status = await this.handle.query(statusQuery);
      if (isOver(status.state)) return { state: status.state, approvals };
      const needed = this.#needed(status);
      if (needed === 'approve') approvals += 1;
      // A run that has moved on in between refuses; then something else is needed.
      if (needed !== null) await this.drive(needed).catch(() => undefined);
      await sleep(20);
    }
  }

  #needed({ state, stages }: RunStatus): OperatorAction | null {
    if (state === 'paused') return 'resume';
    if (state === 'waiting') return 'approve';
    if (state === 'parked') return 'retryStage';
    const isHeld = this.attempts(STAGE) <= this.#held && this.state !== 'terminated';
    const trains = stages.some((stage) => stage.folder === STAGE && stage.state === 'running');
    return isHeld && trains ? 'pause' : null;
  }

  hasParked(folder: string): boolean {
    return this.fakes.ledger.some(
      (entry) => entry.type === 'stage-ended' && entry.folder === folder && entry.result === 'parked',
    );
  }

  /** Records of the cell's action that are not those of an update applied again. */
  records(action: OperatorAction): number {
    return this.fakes.ledger.filter(
      (entry) =>
        entry.type === 'action' &&
        entry.action === action &&
        entry.actor === OPERATOR.actor &&
        entry.repeats === undefined,
    ).length;
  }
}

/** Attempts of the stage that run until they are told to stop. */
const HELD: Record<State, readonly FakeEnd[]> = {
  running: ['until-stopped'],
  pausing: ['until-told'],
  paused: ['until-stopped'],
  parked: [],
  'waiting for approval': [],
  aborting: ['until-told'],
  aborted: ['until-stopped'],
  terminated: ['until-stopped'],
  reset: ['until-stopped', 'until-stopped'],
  'store down': ['until-stopped'],
  'worker down': [],
};

/** What is seen of a run that has done the action. */
const EFFECTS: Record<OperatorAction, (scene: Scene) => Promise<unknown>> = {
  pause: (scene) => scene.inState('paused'),
  resume: (scene) => scene.until(() => scene.attempts(STAGE) === 2),
  retryStage: (scene) => scene.until(() => scene.attempts(EVALUATION) === 2),
  skipStage: (scene) =>
    scene.until(({ stages }) => stages.some((one) => one.folder === EVALUATION && one.state === 'skipped')),
  abort: (scene) => scene.inState('cancelled'),
  // Seen at the end: nobody else has to open the gate.
  approve: () => Promise.resolve(),
  // Seen at the end: a stage hangs as often as was allowed, and no oftener, and does not park.
  setBudget: ({ fakes }) => {
    fakes.ends.set(
      LATER,
      Array.from({ length: HANGS }, () => ({ class: 'hang' })),
    );
    return Promise.resolve();
  },
};

async function started(state: State): Promise<Scene> {
  const handle = await environment.client.workflow.start(recipe, {
    taskQueue: TASK_QUEUE,
    workflowId: `r-${randomUUID()}`,
    args: [RECIPE],
  });
  return new Scene(state, handle);
}

async function checkAnswer(scene: Scene, action: OperatorAction): Promise<void> {
  const { becomes, said, isUnanswered = false } = EXPECTED[scene.state][action];
  const answer = await scene.ask(action);
  expect(answer.said).toMatch(said);
  expect(answer.isRefused).toBe(becomes === 'refused' || isUnanswered);
  if (isUnanswered) expect(scene.records(action)).toBe(0);
}

async function checkEnd(scene: Scene, action: OperatorAction): Promise<void> {
  const { becomes, isUnanswered = false } = EXPECTED[scene.state][action];
  scene.release();
  if (isUnanswered && becomes === 'done') await scene.until(() => scene.records(action) === 1);
  if (becomes === 'done') await EFFECTS[action](scene);
  const { state, approvals } = await scene.end();
  const isDone = becomes === 'done';
  expect(scene.records(action)).toBe(becomes === 'refused' ? 0 : 1);
  const isCancelled = scene.state.startsWith('abort') || (action === 'abort' && isDone);
  expect(state).toBe(isCancelled ? 'cancelled' : 'completed');
  if (action === 'approve' && isDone) expect(approvals).toBe(0);
  else if (!isCancelled) expect(approvals).toBe(1);
  if (action === 'setBudget' && isDone) {
    expect(scene.attempts(LATER)).toBe(HANGS + 1);
    expect(scene.hasParked(LATER)).toBe(false);
  }
}

async function play(state: State, action: OperatorAction): Promise<void> {
  const scene = await started(state);
  const work = (body: () => Promise<void>) => withWorker(environment, scene.fakes.activities, body);
  try {
    if (state === 'worker down') {
      await work(() => scene.reach());
      await checkAnswer(scene, action);
      await work(() => checkEnd(scene, action));
      return;
    }
    await work(async () => {
      try {
        await scene.reach();
        await checkAnswer(scene, action);
        await checkEnd(scene, action);
      } finally {
        scene.release();
        await scene.handle.terminate().catch(() => undefined);
      }
    });
  } finally {
    await scene.handle.terminate().catch(() => undefined);
  }
}

describe.each(keysOf(EXPECTED))('of a run that is %s, an operator asks', (state) => {
  it.each(OPERATOR_ACTION_NAMES)('%s', (action) => play(state, action));
});
