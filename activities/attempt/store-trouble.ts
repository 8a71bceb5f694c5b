/** What keeps the watcher of a job waiting for the store: refusals that go on, and silence. */
import { isStoreError } from '../../src/store/errors.js';
import { instantText } from '../../src/domain/lib/time.js';

/** Refusals that last no longer are not worth a word, milliseconds. Each has been tried again a few times already. */
const LASTING_MS = 3_000;
/** A request without an answer for so long is told of, milliseconds. */
const SILENT_MS = 15_000;

interface Trouble {
  /** When the first of the requests that were in vain was made. */
  readonly since: number;
  readonly said: string;
}

/** Sees every request of one watcher. One request of each kind is under way at a time. */
export class StoreTrouble {
  readonly #asked = new Map<string, number>();
  readonly #refused = new Map<string, Trouble>();

  /** `now`: milliseconds since 1970. */
  constructor(private readonly now: () => number = Date.now) {}

  /** Makes a request. `kind`: requests of one kind are refused, or not, alike. */
  async ask<T>(kind: string, request: () => Promise<T>): Promise<T> {
    const asked = this.now();
    this.#asked.set(kind, asked);
    try {
      const answer = await request();
      this.#refused.delete(kind);
      return answer;
    } catch (error) {
      if (isStoreError(error, 'unavailable')) {
        const since = this.#refused.get(kind)?.since ?? asked;
        const said = error.message.replace(`${error.url}: `, '');
        this.#refused.set(kind, { since, said: `${said}. What can be done: ${error.remedy}` });
      }
      throw error;
    } finally {
      this.#asked.delete(kind);
    }
  }

  /** One sentence for people, the same for as long as the trouble is; null: there is none that lasts. */
  get warning(): string | null {
    const now = this.now();
    const refusals = [...this.#refused.values()].filter(({ since }) => now - since >= LASTING_MS);
    const [oldest] = refusals.sort((a, b) => a.since - b.since);
    if (oldest !== undefined) return sentence(oldest.since, oldest.said);
    const asked = Math.min(...this.#asked.values());
    return now - asked >= SILENT_MS ? sentence(asked, 'it has not answered') : null;
  }
}

function sentence(since: number, said: string): string {
  return `the worker waits for the store since ${instantText(new Date(since).toISOString())}: ${said}`;
}
