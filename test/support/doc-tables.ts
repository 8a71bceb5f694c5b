/** Tables of the documents that follow from the program's own. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/** A table as prettier writes it. */
function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) => Math.max(3, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

/**
 * The table in a document whose first heading is that of `rows` is what they say. With `-u` it is rewritten.
 * `file`: below docs/.
 */
export async function expectDocTable(file: string, rows: readonly (readonly string[])[]): Promise<void> {
  const path = fileURLToPath(new URL(`../../docs/${file}`, import.meta.url));
  const text = readFileSync(path, 'utf8');
  const first = rows[0]?.[0] ?? '';
  const tables = text.match(/(?:^\|.*\|\n)+/gm) ?? [];
  const old = tables.filter((table) => table.startsWith(`| ${first} `));
  expect(old, `tables of ${file} that begin with ${first}`).toHaveLength(1);
  await expect(text.replace(old[0] ?? '', () => `${markdownTable(rows)}\n`)).toMatchFileSnapshot(path);
}
