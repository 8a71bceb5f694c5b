/** Recall by length and depth: every cell says its number, the colour only repeats it. */
import { percent } from '../format.js';
import { markup } from '../markup.js';
import type { Markup } from '../markup.js';
import { drawing, label } from './frame.js';

/** One cell. `value` between 0 and 1; null was not measured. */
export interface HeatCell {
  readonly value: number | null;
  readonly title: string;
}

/** Words and cells of a heat map; `rows` from the top, each as long as `columns`. */
export interface HeatMap {
  readonly title: string;
  readonly description: string;
  readonly x: string;
  readonly y: string;
  readonly columns: readonly string[];
  readonly rows: readonly { readonly label: string; readonly cells: readonly HeatCell[] }[];
}

const CELL_HEIGHT = 30;
const WIDTH = 240;
const LEFT = 60;

function cell(x: number, y: number, width: number, { value, title }: HeatCell): Markup {
  const share = value ?? 0;
  const fill =
    value === null
      ? 'none'
      : `color-mix(in oklab, var(--heat-high) ${Math.round(share * 100)}%, var(--heat-low))`;
  const ink = share > 0.5 ? 'var(--heat-on-high)' : 'var(--heat-on-low)';
  const style = `fill:${ink};font-variant-numeric:tabular-nums`;
  return markup`<g><title>${title}</title><rect x="${x + 1}" y="${y + 1}" width="${width - 2}" height="${CELL_HEIGHT - 2}" rx="3" class="frame" style="fill:${fill}"/><text x="${x + width / 2}" y="${y + CELL_HEIGHT / 2 + 4}" text-anchor="middle" style="${style}">${value === null ? '–' : percent(value)}</text></g>`;
}

/** The heat map as a drawing. */
export function heatMap({ title, description, x, y, columns, rows }: HeatMap): Markup {
  const height = rows.length * CELL_HEIGHT;
  const width = (WIDTH - LEFT) / Math.max(1, columns.length);
  const cells = rows.map((row, rowIndex) => [
    label('tick', LEFT - 5, rowIndex * CELL_HEIGHT + CELL_HEIGHT / 2 + 4, 'end', row.label),
    row.cells.map((content, column) => cell(LEFT + column * width, rowIndex * CELL_HEIGHT, width, content)),
  ]);
  const names = [
    columns.map((text, column) => label('tick', LEFT + (column + 0.5) * width, height + 14, 'middle', text)),
    label('axis', LEFT + (WIDTH - LEFT) / 2, height + 31, 'middle', x),
    markup`<text class="axis" transform="translate(12 ${height / 2}) rotate(-90)" text-anchor="middle">${y}</text>`,
  ];
  const layout = { width: WIDTH, height: height + 36, top: 0, right: 0, bottom: 36, left: LEFT };
  return drawing(layout, title, description, [cells, names]);
}
