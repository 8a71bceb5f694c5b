/** Task queues by what waits on them. */

/** Workflows and activities of recipes. One queue: every activity here is I/O, the computing is done by jobs. */
export const TASK_QUEUE = 'longhaul';
