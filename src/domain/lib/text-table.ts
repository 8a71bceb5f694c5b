/** Tables and paragraphs in plain text. Widths are counted in UTF-16 units: nothing printed here needs two of them. */

/** How a column is aligned. */
export type Alignment = 'left' | 'right';

/**
 * Rows of cells as lines. Columns are as wide as their widest cell and stand two spaces apart; `alignments` holds for the columns
 * in order, and its last for all that follow. Trailing blanks are cut.
 */
export function textTable(
  rows: readonly (readonly string[])[],
  alignments: readonly Alignment[],
  indent = '',
): string[] {
  const widths = columnWidths(rows);
  return rows.map((row) => {
    const cells = widths.map((width, column) => {
      const cell = row[column] ?? '';
      const fill = ' '.repeat(Math.max(0, width - cell.length));
      return (alignments[column] ?? alignments.at(-1)) === 'right' ? fill + cell : cell + fill;
    });
    return (indent + cells.join('  ')).trimEnd();
  });
}

function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  return Array.from({ length: columns }, (_, column) =>
    Math.max(0, ...rows.map((row) => (row[column] ?? '').length)),
  );
}

/** A text broken between words into lines of at most `width` characters; a longer word stands alone. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
