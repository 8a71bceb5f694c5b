/** Small things that are done to texts, and to what was thrown. */

/** The text up to its first line break. */
export function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

/** What was thrown, as people read it. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The message of the innermost cause, which says what happened; those around it say where. */
export function innermostMessageOf(thrown: unknown): string {
  return thrown instanceof Error && thrown.cause instanceof Error
    ? innermostMessageOf(thrown.cause)
    : messageOf(thrown);
}
