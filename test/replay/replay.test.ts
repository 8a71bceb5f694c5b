import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { ReplayWorkerOptions } from '@temporalio/worker';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { testBundle } from '../support/workflow-environment.js';

const folder = fileURLToPath(new URL('histories/', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
const savedSchema = z.strictObject({
  workflowId: z.string(),
  history: z.looseObject({ events: z.array(z.unknown()) }),
});

let current: ReplayWorkerOptions;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  current = { workflowBundle: await testBundle() };
}, 120_000);

/** Errors of replaying saved histories with some workflow code, by file. */
async function replay(options: ReplayWorkerOptions, names: readonly string[]): Promise<string[]> {
  const histories = names.map((name) =>
    savedSchema.parse(JSON.parse(readFileSync(`${folder}${name}`, 'utf8'))),
  );
  const errors: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories(options, histories)) {
    if (error !== undefined) errors.push(`${workflowId}: ${error.message}`);
  }
  return errors;
}

describe('every history that a released version has written can be replayed', () => {
  it('has histories of the parent and of every kind of child', () => {
    const kinds = ['recipe', 'curation', 'stage-1', 'evaluation'];
    for (const kind of kinds) expect(files.some((name) => name.includes(kind))).toBe(true);
  });

  it('replays them without a difference', async () => {
    expect(await replay(current, files)).toEqual([]);
  });

  it('notices a change of the workflow code: the gate bites', async () => {
    const changed = await bundleWorkflowCode({
      workflowsPath: fileURLToPath(new URL('changed-workflows.ts', import.meta.url)),
      logger: new DefaultLogger('ERROR'),
    });
    const errors = await replay(
      { workflowBundle: changed },
      files.filter((name) => name.endsWith('.recipe.json')),
    );
    expect(errors.length).toBeGreaterThan(0);
  });
});
