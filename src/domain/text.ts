/** Small things that are done to texts, and to what was thrown. */

/** The text up to its first line break. */
export function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

/** Most characters of what a failure says of itself. Temporal takes no megabytes, and nobody reads them. */
export const FAILURE_CHARACTERS = 4000;

/** The text within so many characters: its beginning, and its end, which often says the most; between them how much is left out. */
export function withinLimit(text: string, characters: number): string {
  if (text.length <= characters) return wellFormed(text);
  const left = (kept: number): string => ` … ${text.length - kept} characters left out … `;
  const kept = Math.max(0, characters - left(0).length);
  const head = Math.ceil(kept / 2);
  return wellFormed(text.slice(0, head) + left(kept) + text.slice(text.length - (kept - head)));
}

/** The text with every half of a character that lacks its other half replaced: no other program takes those for text. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
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
