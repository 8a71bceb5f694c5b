/** Temporal's own pause, by the button on a run's page: it holds what is to come, and what trains goes on. */
import { execa } from 'execa';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { workflowLink } from '../../src/cli/links.js';
import { headSchema } from '../../src/contracts/index.js';
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { rootLayout, runLayout, stageLayout } from '../../src/contracts/layout.js';
import { CHAOS_RECIPE, CHAOS_STAGE } from '../chaos/support/recipe.js';
import { openPage, startBrowser } from '../support/browser.js';
import { LiveStack } from '../support/live-stack.js';
import { PATIENCE_MS, RUNS_MS } from '../support/patience.js';
import { story } from '../support/story.js';

const RUN = 'held';
const POLL = { timeout: PATIENCE_MS, interval: 100 };
/** More than are done in the instant between a commit and the pause. */
const STEPS = 60;
const RECIPE = {
  ...CHAOS_RECIPE,
  stages: { ...CHAOS_RECIPE.stages, 'stage-1': { ...CHAOS_RECIPE.stages['stage-1'], steps: STEPS } },
};

let live: LiveStack;
let browser: Browser;

beforeAll(async () => {
  [live, browser] = await Promise.all([LiveStack.start(), startBrowser()]);
  live.worker();
});

afterAll(async () => {
  await browser.close();
  await live.stop();
});

const run = () => live.client.workflow.getHandle(RUN);
const stage = () => live.client.workflow.getHandle(`${RUN}/${CHAOS_STAGE}`);
const stateOf = async (handle: ReturnType<typeof run>): Promise<string> =>
  (await handle.describe()).status.name;

async function committedStep(): Promise<number> {
  const { head } = stageLayout(runLayout(rootLayout(live.config.s3.rootUrl).run(RUN)).stage(CHAOS_STAGE));
  return (await live.store.findJson(head, headSchema))?.value.commit?.step ?? 0;
}

/** What the button of the UI asks the server for. */
async function pause(workflowId: string): Promise<void> {
  await live.client.workflowService.pauseWorkflowExecution({
    namespace: live.stack.namespace,
    ...{ workflowId, identity: 'kim@example.org', reason: 'a look at the node' },
  });
}

async function openRun(): Promise<Page> {
  const page = await openPage(browser);
  await page.goto(workflowLink(live.config, RUN, (await run().describe()).runId));
  return page;
}

/** What an operator types. */
const longhaul = (...args: readonly string[]) =>
  execa(process.execPath, ['bin/longhaul.mjs', ...args], { all: true, reject: false, stdin: 'ignore' });

describe('a run that Temporal itself has paused', () => {
  const then = story();

  then('trains on to the end of its stage, whose own workflow is paused too', async () => {
    await live.client.workflow.start(WORKFLOWS.recipe.name, {
      workflowId: RUN,
      taskQueue: TASK_QUEUE,
      args: [RECIPE],
    });
    await expect.poll(committedStep, POLL).toBeGreaterThan(0);
    await Promise.all([pause(RUN), pause(`${RUN}/${CHAOS_STAGE}`)]);
    const before = await committedStep();
    expect(before).toBeLessThan(STEPS);
    await expect.poll(committedStep, POLL).toBe(STEPS);
    expect([await stateOf(run()), await stateOf(stage())]).toEqual(['PAUSED', 'PAUSED']);
  });

  then('is shown as paused in the UI, by whom and why', async () => {
    const page = await openRun();
    for (const text of ['This Workflow is Paused', 'kim@example.org', 'a look at the node'])
      await page.getByText(text).first().waitFor();
    await page.close();
  });

  then('is shown as paused in the terminal, and takes no other action there', async () => {
    const list = await longhaul('status');
    expect(list.all).toMatch(new RegExp(`^${RUN} +paused `, 'm'));
    for (const args of [
      ['status', RUN],
      ['resume', RUN, '--actor', 'kim', '--reason', 'a test'],
    ]) {
      const { all, exitCode } = await longhaul(...args);
      expect(exitCode).toBe(1);
      for (const text of ['kim@example.org', 'a look at the node', 'Unpause Workflow']) {
        expect(all.replaceAll('\n', ' ')).toContain(text);
      }
    }
  });

  then('begins nothing when its stage is done', async () => {
    await live.client.workflowService.unpauseWorkflowExecution({
      namespace: live.stack.namespace,
      ...{ workflowId: `${RUN}/${CHAOS_STAGE}`, identity: 'kim@example.org', reason: 'seen' },
    });
    await stage().result();
    const { raw } = await run().describe();
    expect(raw.pendingWorkflowTask ?? null).toBeNull();
    expect(raw.pendingChildren ?? []).toEqual([]);
    expect(await stateOf(run())).toBe('PAUSED');
  });

  then(
    'goes on where it was once the UI has unpaused it, and its audit tells who had paused it',
    async () => {
      const page = await openRun();
      await page.getByRole('button', { name: 'Unpause Workflow' }).first().click();
      await page.locator('dialog[open], [role=dialog]').getByRole('button', { name: 'Unpause' }).click();
      await expect.poll(() => stateOf(run()), POLL).not.toBe('PAUSED');
      await run().result();
      await page.close();
      const audit = await longhaul('audit', RUN);
      expect(audit.exitCode).toBe(0);
      expect(audit.all.replaceAll(/\s+/g, ' ')).toContain(
        `kim@example.org paused temporal:${RUN}/${(await run().describe()).runId} by Temporal’s own means`,
      );
    },
    RUNS_MS,
  );
});
