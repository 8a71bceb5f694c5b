/** The jobs of a stage that is not attempted any more. */
import { Context } from '@temporalio/activity';
import type { Backend } from '../../src/backends/backend.js';
import { decodeLabels } from '../../src/domain/attempt/labels.js';

const OBSERVE_MS = 200;

/** A stage whose jobs are to end. */
export interface StageJobs {
  /** Prefix of the stage. */
  readonly stageUrl: string;
  /** Between SIGTERM and SIGKILL, seconds. */
  readonly graceSeconds: number;
}

/**
 * Stops whatever jobs of a stage run, and waits until they have ended. For a stage whose attempt was cancelled while nobody
 * watched it: its worker was gone, or was about to try again. The store is not needed for that.
 */
export async function stopJobsOf(backend: Backend, { stageUrl, graceSeconds }: StageJobs): Promise<string[]> {
  const names = await runningJobs(backend, stageUrl);
  await Promise.all(names.map((name) => backend.terminate(name, graceSeconds)));
  for (const name of names) {
    while ((await backend.observe(name)).state === 'running') await Context.current().sleep(OBSERVE_MS);
  }
  return names;
}

async function runningJobs(backend: Backend, stageUrl: string): Promise<string[]> {
  const { namespace } = Context.current().info;
  const running: string[] = [];
  for (const name of await backend.list()) {
    const labels = decodeLabels(await backend.labels(name));
    if (labels?.stageUrl !== stageUrl || labels.namespace !== namespace) continue;
    if ((await backend.observe(name)).state === 'running') running.push(name);
  }
  return running;
}
