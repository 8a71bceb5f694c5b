/** Phases of a job, in the order they may come. The watchdog has a limit for each. */
export const JOB_PHASES = ['import', 'load', 'first-step', 'step', 'save', 'evaluate', 'export'] as const;

/** What a job is busy with. */
export type JobPhase = (typeof JOB_PHASES)[number];
