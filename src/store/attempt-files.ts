/** What attempts leave behind: event files and the outcome. */
import { eventFileSchema, outcomeSchema } from '../contracts/index.js';
import type { Epoch, EventFile, Outcome } from '../contracts/index.js';
import { stageLayout } from '../contracts/layout.js';
import type { ObjectStore } from './object-store.js';

/** Event files from `fromIndex` on, as far as they are there without a gap. One failed read more than there are files. */
export async function readEventFiles(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
  fromIndex = 1,
): Promise<EventFile[]> {
  const files: EventFile[] = [];
  for (;;) {
    const url = stageLayout(stageUrl).eventFile(epoch, fromIndex + files.length);
    const found = await store.findJson(url, eventFileSchema);
    if (found === null) return files;
    files.push(found.value);
  }
}

/** How an attempt ended in the job's own words, null while there is no outcome. */
export async function readOutcome(
  store: ObjectStore,
  stageUrl: string,
  epoch: Epoch,
): Promise<Outcome | null> {
  return (await store.findJson(stageLayout(stageUrl).outcome(epoch), outcomeSchema))?.value ?? null;
}
