/** The documentation inside Python sources. */

/** Shorter docstrings are labels, not documentation. */
const MIN_CHARACTERS = 200;
const OPENING = /^\s*[rR]?("""|''')/;
const DEFINITION = /^\s*(?:async\s+)?(?:def|class)\s+(\w+)/;

/**
 * The docstrings of a module, its classes and functions in order, each under the name of what it documents; undefined when there
 * is none worth reading. A scan of lines, not a parser: a docstring is a triple-quoted string that starts a line after a
 * definition or at the top of the file.
 */
export function docstringsOf(source: string, path: string): string | undefined {
  const lines = source.split('\n');
  const found: string[] = [];
  let name: string | undefined = path;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    name = DEFINITION.exec(line)?.[1] ?? name;
    const quotes = OPENING.exec(line)?.[1];
    if (quotes === undefined) continue;
    const end = closingLine(lines, at, quotes);
    const text = cleaned(lines.slice(at, end + 1), quotes);
    if (name !== undefined && text.length >= MIN_CHARACTERS) found.push(`${name}\n\n${text}`);
    name = undefined;
    at = end;
  }
  return found.length === 0 ? undefined : `${found.join('\n\n')}\n`;
}

/** The line where a triple-quoted string ends; the last line when it never does. */
function closingLine(lines: readonly string[], start: number, quotes: string): number {
  const first = lines[start] ?? '';
  if (first.includes(quotes, first.indexOf(quotes) + 3)) return start;
  for (let at = start + 1; at < lines.length; at++) if (lines[at]?.includes(quotes) === true) return at;
  return lines.length - 1;
}

/** Without quotes and common indentation, as `inspect.cleandoc` gives it. */
function cleaned(lines: readonly string[], quotes: string): string {
  const joined = lines.join('\n');
  const start = joined.indexOf(quotes) + 3;
  const end = joined.indexOf(quotes, start);
  const [first = '', ...rest] = joined.slice(start, end === -1 ? undefined : end).split('\n');
  const indents = rest
    .filter((line) => line.trim() !== '')
    .map((line) => line.length - line.trimStart().length);
  const indent = Math.min(...indents, 80);
  return [first.trim(), ...rest.map((line) => line.slice(indent).trimEnd())].join('\n').trim();
}
