/** What all charts with two axes share: the drawing's size, its axes, grid, labels, title and description. */
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import { round } from './series.js';

/** A tick of an axis: its place in pixels and what it says. */
export interface Tick {
  readonly at: number;
  readonly label: string;
}

/** Size and margins of a drawing, pixels. */
export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly left: number;
}

/** The usual chart. */
export const CHART: Layout = { width: 480, height: 270, top: 10, right: 12, bottom: 44, left: 52 };

/** A chart's words: a title, a description for readers who don't see it, and the axes with their units. */
export interface ChartText {
  readonly title: string;
  readonly description: string;
  readonly x: string;
  readonly y: string;
}

/** Left and right end of the plotting area, as a range for x scales. */
export function horizontal(layout: Layout): [number, number] {
  return [layout.left, layout.width - layout.right];
}

/** Bottom and top of the plotting area, as a range for y scales (upward). */
export function vertical(layout: Layout): [number, number] {
  return [layout.height - layout.bottom, layout.top];
}

/** An SVG element with title and description. */
export function drawing(layout: Layout, title: string, description: string, content: Content): Markup {
  const { width, height } = layout;
  return markup`<svg viewBox="0 0 ${width} ${height}" style="max-width:${width}px" role="img"><title>${title}</title><desc>${description}</desc>${content}</svg>`;
}

/** A word in a drawing. */
export function label(
  kind: 'tick' | 'axis' | 'value',
  x: number,
  y: number,
  anchor: 'start' | 'middle' | 'end',
  text: string,
): Markup {
  return markup`<text class="${kind}" x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${text}</text>`;
}

/** A chart: axes with grid, and `content` on top. */
export function framed(
  layout: Layout,
  text: ChartText,
  ticks: { x: readonly Tick[]; y: readonly Tick[] },
  content: Content,
): Markup {
  const [left, right] = horizontal(layout);
  const [bottom, top] = vertical(layout);
  const y = ticks.y.map(
    (tick) =>
      markup`<path class="grid" d="M${left} ${round(tick.at)}H${right}"/>${label('tick', left - 6, tick.at + 4, 'end', tick.label)}`,
  );
  const x = ticks.x.map(
    (tick) =>
      markup`<path class="frame" d="M${round(tick.at)} ${bottom}v4"/>${label('tick', tick.at, bottom + 17, 'middle', tick.label)}`,
  );
  const names = [
    markup`<path class="frame" d="M${left} ${bottom}H${right}"/>`,
    label('axis', (left + right) / 2, layout.height - 6, 'middle', text.x),
    markup`<text class="axis" transform="translate(12 ${round((top + bottom) / 2)}) rotate(-90)" text-anchor="middle">${text.y}</text>`,
  ];
  return drawing(layout, text.title, text.description, [y, x, names, content]);
}
