/** Small parts that sections share: tables, gaps, verdicts, estimates. */
import type { Verdict } from '../data/statistics.js';
import { GAP, intervalText } from './format.js';
import { markup } from './markup.js';
import type { Content, Markup } from './markup.js';
import type { Estimate } from '../data/report-data.js';

/** A column of a table. */
export interface Column {
  readonly name: string;
  readonly number?: boolean;
  /** Long text without spaces, such as addresses, that may break anywhere. */
  readonly wrap?: boolean;
}

/** A table that scrolls sideways where it doesn't fit. The first cell of a row names the row. */
export function table(columns: readonly Column[], rows: readonly (readonly Content[])[]): Markup {
  const kind = (column: Column | undefined) =>
    column?.number === true ? 'number' : column?.wrap === true ? 'wrap' : '';
  const head = columns.map((column) => markup`<th scope="col" class="${kind(column)}">${column.name}</th>`);
  const body = rows.map((cells) => {
    const row = cells.map((cell, index) =>
      index === 0
        ? markup`<th scope="row">${cell}</th>`
        : markup`<td class="${kind(columns[index])}">${cell}</td>`,
    );
    return markup`<tr>${row}</tr>`;
  });
  return markup`<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

/** A section with its heading. */
export function section(id: string, heading: string, content: Content): Markup {
  return markup`<section id="${id}"><h2>${heading}</h2>${content}</section>`;
}

/** Says that something was not measured, and what. */
export function gap(what: string): Markup {
  return markup`<p class="gap">${what}: ${GAP}.</p>`;
}

/** What stands in a table cell without a value. */
export const GAP_CELL = markup`<span class="gap">${GAP}</span>`;

const VERDICT_SIGNS: Readonly<Record<Verdict, string>> = {
  better: '▲',
  worse: '▼',
  'not separable': '≈',
};

/** A verdict, by sign, word and colour. */
export function verdictTag(verdict: Verdict): Markup {
  const kind = verdict === 'not separable' ? 'verdict' : `verdict ${verdict}`;
  return markup`<span class="${kind}">${VERDICT_SIGNS[verdict]} ${verdict}</span>`;
}

/** A mean with its interval. */
export function estimateCell(estimate: Estimate, format: (value: number) => string): Markup {
  return markup`${format(estimate.mean)} <span class="interval">(${intervalText(estimate, format)})</span>`;
}

/** A figure with its caption. */
export function figure(caption: Content, content: Content): Markup {
  return markup`<figure><figcaption>${caption}</figcaption>${content}</figure>`;
}

/** Something that is there for who asks. */
export function folded(summary: string, content: Content): Markup {
  return markup`<details><summary>${summary}</summary>${content}</details>`;
}
