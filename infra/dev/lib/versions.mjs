// @ts-check
/** Comparing versions of the tools that set-up needs. */

/**
 * Numbers of a version: `v20.19.1-rc.1` gives [20, 19, 1].
 *
 * @param {string} text
 * @returns {[number, number, number] | undefined} undefined when there is no version in the text
 */
export function parseVersion(text) {
  const match = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (match === null) return undefined;
  return [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

/**
 * Whether a version is at least another. A text without a version is never enough.
 *
 * @param {string} actual
 * @param {string} minimum
 */
export function isAtLeast(actual, minimum) {
  const left = parseVersion(actual);
  const right = parseVersion(minimum);
  if (left === undefined || right === undefined) return false;
  const [a, b, c] = left;
  const [x, y, z] = right;
  if (a !== x) return a > x;
  if (b !== y) return b > y;
  return c >= z;
}
