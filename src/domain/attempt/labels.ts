/** What a job is labelled with at its backend, so that somebody who only finds the job knows whose it is. */
import { z } from 'zod';

/** Labels of an attempt's job. Every value is text: that is all that backends keep. */
export const jobLabelsSchema = z.object({
  namespace: z.string().min(1).describe('Temporal namespace of the workflow'),
  workflowId: z.string().min(1).describe('The stage’s workflow'),
  run: z.string().min(1),
  folder: z.string().min(1).describe('Stage folder, <nn-name>'),
  stageUrl: z.string().min(1).describe('s3:// prefix of the stage'),
  epoch: z.coerce.number().int().positive(),
  graceSeconds: z.coerce.number().nonnegative().describe('Between SIGTERM and SIGKILL'),
});
export type JobLabels = z.infer<typeof jobLabelsSchema>;

/** Labels as a backend keeps them. */
export function encodeLabels(labels: JobLabels): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}

/** Labels as a backend gave them back; null: the job is not an attempt's, or of a version without labels. */
export function decodeLabels(labels: Readonly<Record<string, string>>): JobLabels | null {
  return jobLabelsSchema.safeParse(labels).data ?? null;
}
