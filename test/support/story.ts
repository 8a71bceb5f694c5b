/** Tests that go on from where the one before them has come to. */
import { it } from 'vitest';

/** A test of a story. */
export type Chapter = (name: string, body: () => Promise<void>, timeoutMs?: number) => void;

/**
 * Tells a story in tests, each of which goes on from the one before it, or all from the first. When that fails, they are not
 * tried: they would say nothing but that it has failed. The test run counts what did not run as one failure more.
 */
export function story(from: 'previous' | 'first' = 'previous'): Chapter {
  let chapters = 0;
  let broken: string | null = null;
  return (name, body, timeoutMs) => {
    const breaks = chapters === 0 || from === 'previous';
    chapters += 1;
    it(name, timeoutMs === undefined ? {} : { timeout: timeoutMs }, async ({ skip }) => {
      if (broken !== null) skip(`it goes on from "${broken}", which has failed`);
      if (breaks) broken = name;
      await body();
      if (breaks) broken = null;
    });
  };
}
