/** What a drill found: the JSON artifact in the run's prefix, and the same as text. */
import { z } from 'zod';
import { digestSchema, instantSchema } from '../contracts/common.js';
import { textTable } from '../domain/lib/text-table.js';
import { FAULT_KINDS } from './schedule.js';

/** `drill/report.json` below the disturbed run's prefix. */
export const drillReportSchema = z.strictObject({
  schema: z.literal('longhaul.drill/1'),
  passed: z.boolean().describe('Every check passed'),
  seed: z.int().nonnegative().describe('Kinds and times of the faults follow from it'),
  undisturbedRun: z.string(),
  disturbedRun: z.string(),
  recipeDigest: digestSchema.describe('Of the recipe that both runs ran'),
  startedAt: instantSchema,
  endedAt: instantSchema,
  seconds: z.strictObject({
    undisturbed: z.number().nonnegative().describe('Wall time of the undisturbed run'),
    disturbed: z.number().nonnegative().describe('Wall time of the disturbed run'),
  }),
  planned: z.int().nonnegative().describe('Faults in the schedule'),
  faults: z.array(
    z.strictObject({
      kind: z.enum(FAULT_KINDS),
      at: instantSchema,
      stage: z.string(),
      job: z.string(),
      committedStep: z.int().nonnegative().nullable(),
    }),
  ),
  checks: z.array(
    z.strictObject({
      stage: z.string().nullable(),
      what: z.string(),
      passed: z.boolean(),
      found: z.string(),
    }),
  ),
});
export type DrillReport = z.infer<typeof drillReportSchema>;

type Fault = DrillReport['faults'][number];

/** When a fault struck, which, and whom: `2026-11-24 11:35:40  kill  02-stage-1  attempt 1  newest commit at step 3`. */
export function faultCells({ at, kind, stage, job, committedStep }: Fault): string[] {
  // A job's name ends in its attempt's number; the run's name before it is long, and known.
  const attempt = `attempt ${Number(job.split('.').at(-1))}`;
  const commit = committedStep === null ? 'nothing committed yet' : `newest commit at step ${committedStep}`;
  return [at.slice(0, 19).replace('T', ' '), kind, stage, attempt, commit];
}

/** The report for people. */
export function drillText(report: DrillReport): string {
  const { undisturbed, disturbed } = report.seconds;
  return [
    `Drill ${report.passed ? 'PASSED' : 'FAILED'}  seed ${report.seed}`,
    '',
    `Undisturbed  ${report.undisturbedRun}  ${undisturbed.toFixed(1)} s`,
    `Disturbed    ${report.disturbedRun}  ${disturbed.toFixed(1)} s, ${report.faults.length} of ${report.planned} faults`,
    `Recipe       ${report.recipeDigest}`,
    '',
    'Checks',
    ...textTable(
      report.checks.map(({ stage, what, passed, found }) => [
        passed ? '✓' : '✗',
        stage ?? 'run',
        what,
        found,
      ]),
      ['left'],
      '  ',
    ),
    '',
    'Faults that struck, UTC',
    ...textTable(report.faults.map(faultCells), ['left'], '  '),
    '',
  ].join('\n');
}
