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

/** What moves a cursor, ends a line, or turns the order of letters round: controls, line separators, marks of direction. */
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;

/** Whether a text is one line that shows as it is written. */
export function isOneLine(text: string): boolean {
  return text.search(CONTROL) === -1;
}

/** The text as a terminal or a page may have it: line breaks and tabs stay, every other control character is spelt out. */
export function printable(text: string): string {
  return text.replace(CONTROL, (character) =>
    character === '\n' || character === '\t' ? character : spelt(character),
  );
}

function spelt(character: string): string {
  return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`;
}

/** The text as it must stand inside a line of Markdown, also in a table: nothing in it is markup, a link or a new line. */
export function markdownText(text: string): string {
  return printable(text.replace(/[\r\n\t]+/g, ' ')).replace(/[\\`*[\]<>|~]/g, '\\$&');
}
