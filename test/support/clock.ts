/** This machine's clock, set wrong: that of the stores and servers it asks stays right. */
import { vi } from 'vitest';

/** More than S3's stores allow a clock to be off, and by far more than any lease of a test holds. */
export const HOUR_MS = 3_600_000;

/** Does something while this process's clock is ahead (below nothing: behind) by so much. It goes on meanwhile. */
export async function withClockAhead<T>(aheadMs: number, work: () => Promise<T>): Promise<T> {
  const RightDate = Date;
  class WrongDate extends RightDate {
    constructor(...given: [] | [number | string | Date]) {
      super(given.length === 0 ? WrongDate.now() : given[0]);
    }

    static override now(): number {
      return RightDate.now() + aheadMs;
    }
  }
  vi.stubGlobal('Date', WrongDate);
  try {
    return await work();
  } finally {
    vi.stubGlobal('Date', RightDate);
  }
}
