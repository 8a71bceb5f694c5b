/**
 * What Python's `str.isspace` takes for white space. JavaScript's `trim` leaves U+001C to U+001F and U+0085, and takes U+FEFF, which
 * Python leaves: chat templates trim as Python does, and a token more or less is another text.
 */
const SPACE = String.raw`[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]`;
const LEADING = new RegExp(`^${SPACE}+`);
const IS_SPACE = new RegExp(`^${SPACE}$`);

/** A text as Python's `str.strip()` gives it. */
export function strip(text: string): string {
  const start = LEADING.exec(text)?.[0].length ?? 0;
  let end = text.length;
  // From the end by hand: a pattern anchored there would be tried at every space of the text.
  while (end > start && IS_SPACE.test(text[end - 1] ?? '')) end -= 1;
  return text.slice(start, end);
}

/** A text that says nothing: no character, or white space only. */
export function isBlank(text: string): boolean {
  return strip(text) === '';
}
