import { execa } from 'execa';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { LocalBackend } from '../../src/backends/local/local.js';
import { workflowLink } from '../../src/cli/links.js';
import { headSchema } from '../../src/contracts/index.js';
import { QUERIES, WORKFLOWS } from '../../src/domain/run/messages.js';
import type { OperatorAction } from '../../src/domain/run/operator-actions.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { rootLayout, runLayout, stageLayout } from '../../src/contracts/layout.js';
import { ask } from '../../src/temporal/messages.js';
import { CHAOS_RECIPE, CHAOS_STAGE } from '../chaos/support/recipe.js';
import { openPage, startBrowser } from '../support/browser.js';
import { LiveStack } from '../support/live-stack.js';
import { PATIENCE_MS } from '../support/patience.js';
import { story } from '../support/story.js';

const RUN = 'parked-at-three';
const POLL = { timeout: PATIENCE_MS, interval: 200 };

/** Longer than anybody waits, and without a single preemption allowed. */
const RECIPE = {
  ...CHAOS_RECIPE,
  stages: { ...CHAOS_RECIPE.stages, 'stage-1': { ...CHAOS_RECIPE.stages['stage-1'], steps: 4000 } },
  execution: { ...CHAOS_RECIPE.execution, onFailure: 'park', attempts: { preempted: 0 } },
};

let live: LiveStack;
let browser: Browser;
let backend: LocalBackend;

beforeAll(async () => {
  [live, browser] = await Promise.all([LiveStack.start(), startBrowser()]);
  backend = new LocalBackend(join(live.config.dataDir, 'jobs'));
  live.worker();
});

afterAll(async () => {
  await browser.close();
  await live.stop();
});

const statusOf = () => ask(live.client.workflow.getHandle(RUN), QUERIES.status);
const expectState = (state: string) =>
  expect.poll(() => statusOf().then((status) => status.state, String), POLL).toBe(state);

/** What an operator types. */
const longhaul = (...args: readonly string[]) =>
  execa(process.execPath, ['bin/longhaul.mjs', ...args], { all: true, reject: false, stdin: 'ignore' });

async function committedStep(): Promise<number> {
  const { head } = stageLayout(runLayout(rootLayout(live.config.s3.rootUrl).run(RUN)).stage(CHAOS_STAGE));
  return (await live.store.findJson(head, headSchema))?.value.commit?.step ?? 0;
}

/** Takes the running job away once it has committed, as a spot fleet would. */
async function preempt(): Promise<void> {
  await expect.poll(committedStep, POLL).toBeGreaterThan(0);
  const running = await Promise.all(
    (await backend.list()).map(async (name) => ({ name, ...(await backend.observe(name)) })),
  );
  for (const { name, state } of running) if (state === 'running') await backend.terminate(name, 10);
}

async function sendUpdate(page: Page, action: OperatorAction, input: unknown): Promise<void> {
  await page.getByRole('button', { name: 'More Actions' }).first().click();
  await page.getByRole('menuitem', { name: 'Send an Update' }).first().click();
  const dialog = page.locator('dialog[open], [role=dialog]');
  await dialog.getByRole('button', { name: 'Select an Update' }).click();
  await page.getByRole('option', { name: new RegExp(`^\\s*${action}`) }).click();
  await dialog.locator('.cm-content').click();
  await page.keyboard.insertText(JSON.stringify(input));
  // The editor reformats when it loses the focus, and a click meanwhile would be lost.
  await dialog.getByTestId('update-id').click();
  await dialog.getByRole('button', { name: 'Submit' }).click();
}

describe('an operator finds a stage parked at 3 a.m.', () => {
  const then = story();

  then('sees in the UI what failed, in which class, and what can be done', async () => {
    await live.client.workflow.start(WORKFLOWS.recipe.name, {
      workflowId: RUN,
      taskQueue: TASK_QUEUE,
      args: [RECIPE],
    });
    await preempt();
    await expectState('parked');
    const page = await openPage(browser);
    const { runId } = await live.client.workflow.getHandle(RUN).describe();
    await page.goto(workflowLink(live.config, RUN, runId));
    await page.getByText('User Metadata').first().click();
    // The UI shows markdown in a frame of its own.
    const details = page.locator('iframe').first().contentFrame();
    for (const text of [
      `${CHAOS_STAGE} is parked: preempted`,
      'Newest checkpoint',
      'retryStage: attempts it again',
    ])
      await details.getByText(text).first().waitFor();
    await page.close();
  });

  then('sees the same in the terminal', async () => {
    const { all, exitCode } = await longhaul('status', RUN);
    expect(exitCode).toBe(0);
    for (const text of ['parked', 'preempted', 'longhaul retry']) expect(all).toContain(text);
  });

  then('retries the stage from the UI, and the run goes on', async () => {
    const page = await openPage(browser);
    const { runId } = await live.client.workflow.getHandle(RUN).describe();
    await page.goto(workflowLink(live.config, RUN, runId));
    const before = await committedStep();
    await sendUpdate(page, 'retryStage', { actor: 'kim', reason: 'the node is back' });
    await expectState('running');
    await expect.poll(committedStep, POLL).toBeGreaterThan(before);
    await page.close();
  });

  then('is told by the command line why an action makes no sense', async () => {
    const { all, exitCode } = await longhaul('resume', RUN, '--actor', 'kim', '--reason', 'a test');
    expect(exitCode).not.toBe(0);
    expect(all).toContain('not paused');
  });

  then('pauses, resumes and aborts from the command line', async () => {
    const act = async (action: string) => {
      const { all, exitCode } = await longhaul(action, RUN, '--actor', 'kim', '--reason', 'a test');
      expect({ action, exitCode, all }).toMatchObject({ exitCode: 0 });
    };
    await act('pause');
    await expectState('paused');
    await act('resume');
    await expectState('running');
    await act('abort');
    await expect.poll(async () => (await statusOf()).state, POLL).toBe('cancelled');
    const audit = await longhaul('audit', RUN);
    for (const text of ['kim', 'the node is back', 'retryStage', 'pause', 'abort'])
      expect(audit.all).toContain(text);
    expect(audit.exitCode).toBe(0);
  });
});
