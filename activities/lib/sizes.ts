/** How much Temporal takes at once. What is larger is refused by its server, or not even read, and told nobody by whom it was. */

/** Most bytes of a value as JSON: a little less than the 2 MiB that a server takes where nobody has set it otherwise. */
export const MOST_BYTES = 2_000_000;

/** What is wrong with a value that is to be sent; null: nothing. `what`: what it is, for people. */
export function tooLarge(what: string, value: unknown): string | null {
  const bytes = value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value));
  if (bytes <= MOST_BYTES) return null;
  return `${what} is too large: ${bytes} bytes as JSON, and Temporal takes at most ${MOST_BYTES}`;
}
