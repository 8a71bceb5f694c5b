// @ts-check
/** One line per item with the time it took; on a terminal, one more line that shows what is under way. */

const colors = process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '';

/** @type {(code: string, text: string) => string} */
const paint = (code, text) => (colors ? `\u001b[${code}m${text}\u001b[0m` : text);

/** @param {string} text */
export const green = (text) => paint('32', text);
/** @param {string} text */
export const red = (text) => paint('31', text);
/** @param {string} text */
export const dim = (text) => paint('2', text);
/** @param {string} text */
export const bold = (text) => paint('1', text);

/**
 * A duration for people: `0.4 s`, `12 s`, `2 m 05 s`.
 *
 * @param {number} seconds
 */
export function formatSeconds(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, '0')} s`;
}

const HEARTBEAT_MS = 30_000;

/**
 * Prints the progress of several items that run at the same time.
 *
 * @param {{ write(text: string): unknown, isTTY?: boolean }} [out]
 */
export function createReporter(out = process.stdout) {
  /** @type {Map<string, number>} */
  const underWay = new Map();
  const live = out.isTTY === true;
  let lastHeartbeat = Date.now();

  const clear = () => {
    if (live) out.write('\r\u001b[K');
  };
  const underWayText = () =>
    [...underWay].map(([name, since]) => `${name} ${formatSeconds((Date.now() - since) / 1000)}`).join(' · ');
  const draw = () => {
    if (underWay.size === 0) return;
    if (live) {
      clear();
      out.write(dim(`  … ${underWayText()}`));
    } else if (Date.now() - lastHeartbeat >= HEARTBEAT_MS) {
      lastHeartbeat = Date.now();
      out.write(`  … ${underWayText()}\n`);
    }
  };
  const timer = setInterval(draw, 1000);
  timer.unref();

  /** @param {string} text */
  const line = (text) => {
    clear();
    out.write(`${text}\n`);
    draw();
  };

  return {
    line,
    /** @param {string} text */
    note: (text) => line(dim(`    ${text}`)),
    /**
     * Runs one item and prints its line with what it returns: how it was done.
     *
     * @template T
     * @param {string} name
     * @param {() => Promise<T & { how: string }>} work
     * @returns {Promise<T & { how: string }>}
     */
    item: async (name, work) => {
      const since = Date.now();
      underWay.set(name, since);
      try {
        const result = await work();
        underWay.delete(name);
        const took = formatSeconds((Date.now() - since) / 1000).padStart(9);
        line(`  ${green('✓')} ${name.padEnd(22)} ${took}   ${dim(result.how)}`);
        return result;
      } catch (error) {
        underWay.delete(name);
        line(`  ${red('✗')} ${name}`);
        throw error;
      }
    },
    close: () => {
      clearInterval(timer);
      underWay.clear();
      clear();
    },
  };
}

/** @typedef {ReturnType<typeof createReporter>} Reporter */
