/** How a series is told apart: by colour and by marker, so that colour alone never carries the meaning. */
import { markup, NOTHING } from '../markup.js';
import type { Markup } from '../markup.js';

/** Look of one series. `index` picks colour and marker; there are eight of each before they repeat. */
export interface SeriesLook {
  readonly label: string;
  readonly index: number;
}

type Shape = (x: number, y: number, r: number) => string;

const SHAPES: readonly Shape[] = [
  (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  (x, y, r) => `M${x} ${y - 1.25 * r}L${x + 1.15 * r} ${y + r}H${x - 1.15 * r}Z`,
  (x, y, r) => `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`,
  (x, y, r) => `M${x} ${y - 1.35 * r}L${x + 1.35 * r} ${y}L${x} ${y + 1.35 * r}L${x - 1.35 * r} ${y}Z`,
  (x, y, r) => `M${x} ${y + 1.25 * r}L${x + 1.15 * r} ${y - r}H${x - 1.15 * r}Z`,
  (x, y, r) => `M${x - r} ${y - r / 2}h${2 * r}v${r}h${-2 * r}Z`,
  (x, y, r) => `M${x - r / 2} ${y - r}h${r}v${2 * r}h${-r}Z`,
  (x, y, r) =>
    `M${x - r} ${y - r}L${x + r} ${y - r}L${x} ${y}L${x + r} ${y + r}L${x - r} ${y + r}L${x} ${y}Z`,
];

/** CSS colour of a series. */
export function seriesColour(index: number): string {
  return `var(--model-${index % 8})`;
}

/** The marker of a series at a point of the drawing. */
export function marker(index: number, x: number, y: number, radius = 4.5): Markup {
  const shape = SHAPES[index % SHAPES.length];
  if (shape === undefined) return NOTHING;
  return markup`<path d="${shape(round(x), round(y), radius)}" fill="${seriesColour(index)}"/>`;
}

/** A legend of the series, for above a chart. */
export function legend(series: readonly SeriesLook[], withLine: boolean): Markup {
  const items = series.map(({ label, index }) => {
    const line = withLine && markup`<path d="M1 7H21" class="curve" stroke="${seriesColour(index)}"/>`;
    return markup`<li><svg viewBox="0 0 22 14" aria-hidden="true">${line}${marker(index, 11, 7)}</svg>${label}</li>`;
  });
  return markup`<ul class="legend">${items}</ul>`;
}

/** A legend of areas, for charts whose marks are bars. */
export function swatches(series: readonly SeriesLook[]): Markup {
  const items = series.map(({ label, index }) => {
    const area = markup`<rect x="4" y="1" width="14" height="12" fill="${seriesColour(index)}"/>`;
    return markup`<li><svg viewBox="0 0 22 14" aria-hidden="true">${area}</svg>${label}</li>`;
  });
  return markup`<ul class="legend">${items}</ul>`;
}

/** A coordinate with a tenth of a pixel: shorter pages, same picture. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}
