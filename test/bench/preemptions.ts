/**
 * A run with 1,000 preemptions against Temporal's history limits (51,200 events or 50 MiB per run of a workflow).
 *
 *     npx tsx test/bench/preemptions.ts [PREEMPTIONS]        (default 1000)
 *
 * Method: the real workflow code on the real server, with activities that return at once: one training stage whose first 1,000
 * attempts end as preempted, each with a commit, the next with success. Prints, for every run of every workflow, its events
 * and bytes as the server counts them, and the events per attempt. Nothing here is timed.
 */
import { WORKFLOWS } from '../../src/domain/run/messages.js';
import { TASK_QUEUE } from '../../src/domain/run/task-queues.js';
import { CHAOS_RECIPE, CHAOS_STAGE } from '../chaos/support/recipe.js';
import { FakeActivities } from '../support/fake-activities.js';
import { startServer, withWorker } from '../support/workflow-environment.js';

const preemptions = Number(process.argv[2] ?? 1000);
const LIMITS = { events: 51_200, bytes: 50 * 1024 * 1024 };
const RUN = 'preemptions';

interface HistorySize {
  readonly workflow: string;
  readonly events: number;
  readonly bytes: number;
}

const environment = await startServer();
try {
  const fakes = new FakeActivities();
  const end = { class: 'preempted', message: 'the machine was taken away', progressed: true } as const;
  fakes.ends.set(
    CHAOS_STAGE,
    Array.from({ length: preemptions }, () => end),
  );
  await withWorker(environment, fakes.activities, async () => {
    await environment.client.workflow.execute(WORKFLOWS.recipe.name, {
      workflowId: RUN,
      taskQueue: TASK_QUEUE,
      args: [CHAOS_RECIPE],
    });
  });
  const sizes = await historySizes();
  for (const { workflow, events, bytes } of sizes) {
    console.log(
      `${workflow.padEnd(28)} ${String(events).padStart(6)} events  ${(bytes / 1024).toFixed(0).padStart(6)} KiB`,
    );
  }
  const stage = sizes.filter(({ workflow }) => workflow === `${RUN}/${CHAOS_STAGE}`);
  const events = stage.reduce((sum, one) => sum + one.events, 0);
  const largest = sizes.reduce(
    (most, one) => Math.max(most, one.events / LIMITS.events, one.bytes / LIMITS.bytes),
    0,
  );
  console.log(
    `${fakes.attempts.length} attempts in ${stage.length} runs of the stage's workflow, ` +
      `${(events / fakes.attempts.length).toFixed(1)} events each; the largest history has ${(100 * largest).toFixed(1)} % of a limit`,
  );
  if (fakes.attempts.length !== preemptions + 1 || largest >= 1) process.exitCode = 1;
} finally {
  await environment.teardown();
}

/** Every run of every workflow, once the server's list is up to date with their ends. */
async function historySizes(): Promise<HistorySize[]> {
  for (;;) {
    const sizes: HistorySize[] = [];
    let isOpen = false;
    for await (const one of environment.client.workflow.list()) {
      isOpen ||= one.status.name === 'RUNNING';
      sizes.push({ workflow: one.workflowId, events: one.historyLength, bytes: one.historySize ?? 0 });
    }
    if (!isOpen && sizes.length > 0) return sizes;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
