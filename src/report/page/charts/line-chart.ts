/** Lines over a numeric axis: training curves, and loss by position. */
import { scaleLinear, scaleLog } from 'd3-scale';
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import { CHART, framed, horizontal, vertical } from './frame.js';
import type { ChartText, Layout, Tick } from './frame.js';
import { marker, round, seriesColour } from './series.js';

/** A point of a line, maybe with its interval. */
export interface LinePoint {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
  readonly title?: string;
}

/** One line. `faint`: the raw values behind a smoothed line. */
export interface Line {
  readonly series: number;
  readonly points: readonly LinePoint[];
  readonly markers: boolean;
  readonly faint?: boolean;
}

/** How a line chart is drawn. */
export interface LineChart {
  readonly text: ChartText;
  readonly lines: readonly Line[];
  /** Places of the x axis to name; absent: chosen by the scale. */
  readonly xTicks?: readonly { readonly value: number; readonly label: string }[];
  readonly xScale: 'linear' | 'log';
  /** Whether the y axis starts at zero. */
  readonly fromZero: boolean;
  readonly formatX: (value: number) => string;
  readonly formatY: (value: number) => string;
  /** Places to mark with a vertical line, each with a word. */
  readonly verticals?: readonly { readonly x: number; readonly label: string }[];
  /** Pixels; absent: as all charts. */
  readonly size?: Partial<Pick<Layout, 'width' | 'height' | 'left'>>;
}

/** Most points drawn of a line: more than a screen has pixels for it. */
const MOST_POINTS = 1200;

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low > high ? [0, 1] : low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** Every n-th point and the last, so that no line has more than {@link MOST_POINTS}. */
function thin(points: readonly LinePoint[]): readonly LinePoint[] {
  const stride = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, index) => index % stride === 0 || index === points.length - 1);
}

interface Scales {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
}

function drawLine(line: Line, { x, y }: Scales): Content {
  const points = thin(line.points);
  const path = points
    .map((point, index) => `${index === 0 ? 'M' : 'L'}${round(x(point.x))} ${round(y(point.y))}`)
    .join('');
  const kind = line.faint === true ? 'curve faint' : 'curve';
  const stroke = markup`<path d="${path}" class="${kind}" stroke="${seriesColour(line.series)}"/>`;
  if (!line.markers) return stroke;
  const marks = points.map((point) => {
    const whisker =
      point.low !== undefined &&
      point.high !== undefined &&
      markup`<path d="M${round(x(point.x))} ${round(y(point.high))}V${round(y(point.low))}" class="curve" stroke="${seriesColour(line.series)}"/>`;
    return markup`<g><title>${point.title ?? ''}</title>${whisker}${marker(line.series, x(point.x), y(point.y))}</g>`;
  });
  return [stroke, marks];
}

function drawVerticals(chart: LineChart, layout: Layout, { x }: Scales): Content {
  const [bottom, top] = vertical(layout);
  return (chart.verticals ?? []).map(({ x: at, label }) => {
    const place = round(x(at));
    return markup`<path d="M${place} ${top}V${bottom}" class="frame" stroke-dasharray="4 3"/><text class="tick" x="${place + 4}" y="${top + 9}">${label}</text>`;
  });
}

/** The chart as a drawing; empty axes when no line has a point. */
export function lineChart(chart: LineChart): Markup {
  const layout = { ...CHART, ...chart.size };
  const points = chart.lines.flatMap((line) => line.points);
  const [lowX, highX] = extent([
    ...points.map((point) => point.x),
    ...(chart.xTicks ?? []).map(({ value }) => value),
  ]);
  const [lowY, highY] = extent(points.flatMap((point) => [point.low ?? point.y, point.high ?? point.y]));
  const x =
    chart.xScale === 'log'
      ? scaleLog([Math.max(lowX, 1), highX], horizontal(layout)).base(2)
      : scaleLinear([lowX, highX], horizontal(layout));
  const y = scaleLinear([chart.fromZero ? 0 : lowY, highY], vertical(layout)).nice(5);
  const xTicks: Tick[] =
    chart.xTicks?.map(({ value, label }) => ({ at: x(value), label })) ??
    x.ticks(5).map((value) => ({ at: x(value), label: chart.formatX(value) }));
  const yTicks = y.ticks(5).map((value) => ({ at: y(value), label: chart.formatY(value) }));
  const content = [
    drawVerticals(chart, layout, { x, y }),
    chart.lines.filter((line) => line.points.length > 0).map((line) => drawLine(line, { x, y })),
  ];
  return framed(layout, chart.text, { x: xTicks, y: yTicks }, content);
}
