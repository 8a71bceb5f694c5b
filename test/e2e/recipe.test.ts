import { WorkflowFailedError } from '@temporalio/client';
import { execa } from 'execa';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { findResult } from '../../activities/attempt/result.js';
import { startFormLink, workflowLink } from '../../src/cli/links.js';
import { modelRefSchema } from '../../src/contracts/common.js';
import { runLayout } from '../../src/contracts/layout.js';
import { TINY_SMOKE } from '../../src/domain/recipe/presets/index.js';
import { QUERIES, WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { downloadModel } from '../../src/store/models.js';
import { ask, resultOf as outcomeOf } from '../../src/temporal/messages.js';
import { openPage, startBrowser } from '../support/browser.js';
import { LiveStack } from '../support/live-stack.js';
import { PATIENCE_MS, RUNS_MS } from '../support/patience.js';
import { story } from '../support/story.js';

const RUN = 'from-the-ui';
const OTHER = 'survivor';

let live: LiveStack;
let browser: Browser;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-e2e-models-'));
  [live, browser] = await Promise.all([LiveStack.start(), startBrowser()]);
  live.worker();
});

afterAll(async () => {
  await browser.close();
  await live.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Fills the UI's start form with a recipe and submits it. */
async function startFromUi(page: Page, run: string, recipe: unknown): Promise<void> {
  await page.goto(startFormLink(live.config, run));
  const editor = page.locator('.cm-content').first();
  await editor.click();
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.insertText(JSON.stringify(recipe));
  // The editor reformats when it loses the focus, and a click meanwhile would be lost.
  await page.getByLabel('Workflow ID').click();
  await page.getByTestId('start-workflow-button').click();
}

const resultOf = (run: string) => outcomeOf(live.client.workflow.getHandle(run), WORKFLOWS.recipe);
const statusOf = (run: string) => ask(live.client.workflow.getHandle(run), QUERIES.status);

/** Whether a folder is that of a stage, and not of the RoPE bump before it. */
const isFolderOf = (folder: string, stage: string): boolean => folder.replace(/^\d+-/, '') === stage;

/** Folder of a stage by the name it has in the recipe. */
async function folderOf(run: string, stage: string): Promise<string> {
  const found = (await statusOf(run)).stages.find(({ folder: name }) => isFolderOf(name, stage));
  if (found === undefined) throw new Error(`${run} has no stage ${stage}`);
  return found.folder;
}

async function weightsDigestOf(run: string, stage: string): Promise<string> {
  const url = runLayout((await resultOf(run)).runUrl).stage(await folderOf(run, stage));
  const outcome = (await findResult(live.store, url))?.outcome;
  if (outcome?.result !== 'trained') throw new Error(`${stage} was not trained`);
  return outcome.weightsDigest;
}

/** Messages of an error and its causes. */
function messagesOf(error: Error): string {
  return error.cause instanceof Error ? `${error.message}\n${messagesOf(error.cause)}` : error.message;
}

/** They all need the run that the first of them completes. */
const then = story('first');

describe('a run is started from the Temporal UI', () => {
  then(
    'completes the recipe that its start form was filled with',
    async () => {
      const page = await openPage(browser);
      await startFromUi(page, RUN, TINY_SMOKE);
      await expect
        .poll(
          () =>
            live.client.workflow
              .getHandle(RUN)
              .describe()
              .then(({ status }) => status.name)
              .catch(() => ''),
          { timeout: PATIENCE_MS },
        )
        .toBe('RUNNING');
      await resultOf(RUN);
      const status = await statusOf(RUN);
      expect(status.state).toBe('completed');
      expect(status.stages.map(({ state }) => state)).toEqual(status.stages.map(() => 'done'));
      await page.close();
    },
    RUNS_MS,
  );

  then('shows the stages on the page of the run, and where it stands in its search attributes', async () => {
    const page = await openPage(browser);
    const { runId } = await live.client.workflow.getHandle(RUN).describe();
    await page.goto(workflowLink(live.config, RUN, runId));
    await page.getByText('Stage 1, 1K').first().waitFor();
    await page.close();
    const { typedSearchAttributes } = await live.client.workflow.getHandle(RUN).describe();
    expect(JSON.stringify(typedSearchAttributes)).toContain('completed');
  });

  then('shows every problem of a bad recipe in the failure of the run', async () => {
    const page = await openPage(browser);
    await startFromUi(page, 'bad', {
      preset: 'tiny',
      colour: 'blue',
      stages: { 'stage-1': { ropeTheta: 10 } },
    });
    const handle = live.client.workflow.getHandle('bad');
    await expect
      .poll(
        () =>
          handle
            .describe()
            .then(({ status }) => status.name)
            .catch(() => ''),
        { timeout: PATIENCE_MS },
      )
      .toBe('FAILED');
    await page.goto(workflowLink(live.config, 'bad', (await handle.describe()).runId));
    for (const path of ['colour', 'stages.stage-1.ropeTheta']) await page.getByText(path).first().waitFor();
    await page.close();
  });
});

describe('a run leaves what it promises', () => {
  then('writes a report', async () => {
    const { reportUrl } = await resultOf(RUN);
    const page = new TextDecoder().decode((await live.store.get(reportUrl ?? '')).data);
    expect(page).toContain('<html');
    expect(page).toContain('Stage 1');
  });

  then('exports weights that plain transformers loads, with the bumped RoPE base', async () => {
    const { models } = await resultOf(RUN);
    const model = modelRefSchema.parse(models['sft']);
    const local = join(folder, 'sft');
    await downloadModel(live.store, model, local);
    const script = join(folder, 'load.py');
    await writeFile(
      script,
      [
        'import sys, json, torch',
        'from transformers import AutoModelForCausalLM, AutoTokenizer',
        'model = AutoModelForCausalLM.from_pretrained(sys.argv[1])',
        'tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])',
        'ids = tokenizer("It is a truth", return_tensors="pt").input_ids',
        'out = model.generate(ids, max_new_tokens=5, do_sample=False)',
        'theta = model.config.rope_parameters["rope_theta"]',
        'print(json.dumps({"theta": theta, "length": model.config.max_position_embeddings, "new": out.shape[1] - ids.shape[1]}))',
      ].join('\n'),
    );
    const { stdout } = await execa(live.config.trainerPython, [script, local]);
    expect(JSON.parse(stdout.split('\n').at(-1) ?? '')).toEqual({ theta: 6.4e5, length: 4096, new: 5 });
  });

  then('keeps its histories small: under 500 events and 1 MB, all workflows together', async () => {
    let events = 0;
    let bytes = 0;
    const query = `WorkflowId = "${RUN}" OR WorkflowId STARTS_WITH "${RUN}/"`;
    for await (const { historyLength, historySize } of live.client.workflow.list({ query })) {
      events += historyLength;
      bytes += historySize ?? 0;
    }
    expect(events).toBeGreaterThan(50);
    expect(events).toBeLessThan(500);
    expect(bytes).toBeLessThan(1_000_000);
  });

  then('logs no credentials', async () => {
    const secret = process.env['AWS_SECRET_ACCESS_KEY'] ?? '';
    expect(secret).not.toBe('');
    expect(await live.log()).not.toContain(secret);
  });
});

describe('no committed step is lost', () => {
  then(
    'ends in the same weights when the worker is killed while a stage trains',
    async () => {
      await live.client.workflow.start(WORKFLOWS.recipe.name, {
        workflowId: OTHER,
        taskQueue: TASK_QUEUE,
        args: [TINY_SMOKE],
      });
      await expect
        .poll(
          () =>
            statusOf(OTHER)
              .then(({ stages }) => stages.find(({ folder: name }) => isFolderOf(name, 'stage-1'))?.state)
              .catch(() => ''),
          { timeout: PATIENCE_MS, interval: 500 },
        )
        .toBe('running');
      await sleep(1_000);
      live.killWorkers();
      live.worker();
      await resultOf(OTHER);
      for (const stage of ['stage-1', 'stage-2', 'sft']) {
        expect(await weightsDigestOf(OTHER, stage)).toBe(await weightsDigestOf(RUN, stage));
      }
    },
    RUNS_MS,
  );

  then('refuses another recipe under the name of a run', async () => {
    const handle = await live.client.workflow.start(WORKFLOWS.recipe.name, {
      workflowId: RUN,
      taskQueue: TASK_QUEUE,
      args: [{ ...TINY_SMOKE, seed: 7 }],
    });
    const error: unknown = await handle.result().catch((reason: unknown) => reason);
    if (!(error instanceof WorkflowFailedError)) throw new Error('the run was not refused');
    expect(messagesOf(error)).toContain('belongs to another run');
  });
});
