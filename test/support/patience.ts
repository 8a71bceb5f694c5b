/**
 * How long tests wait for what is sure to come: far longer than it takes on an idle machine, as a busy one is many times
 * slower. Only what never comes takes as long.
 */

/** For a condition or a page. Half of a test's own time, so that the test says what it has waited for. */
export const PATIENCE_MS = 5 * 60_000;

/** For a whole test of what takes seconds on an idle machine; that of every test which names no other, see vitest.config.ts. */
export const TEST_MS = 2 * PATIENCE_MS;

/** For a test in which whole runs come to their ends. */
export const RUNS_MS = 3 * TEST_MS;
