/** A number of places for work that takes much of a machine: who finds none waits for its turn. */

/** Places, given in the order in which they were asked for. */
export class Places {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param count places in all, at least one */
  constructor(count: number) {
    this.#free = count;
  }

  /** Whether who comes now has to wait. */
  get isFull(): boolean {
    return this.#free === 0;
  }

  /**
   * Does the work once there is a place for it, and gives the place back.
   * @throws the reason of `signal` when that comes while it waits; what the work throws.
   */
  async in<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#take(signal);
    try {
      return await work();
    } finally {
      this.#giveBack();
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const isMine = await new Promise<boolean>((resolve) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        resolve(false);
      };
      const enter = (): void => {
        signal.removeEventListener('abort', leave);
        resolve(true);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(enter);
    });
    if (!isMine) signal.throwIfAborted();
  }

  /** Hands the place to the next in line, so that nobody who comes later takes it. */
  #giveBack(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
