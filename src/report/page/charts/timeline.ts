/** Where a run's time went: one bar per stage, cut into what the seconds were spent on. */
import { scaleLinear } from 'd3-scale';
import { duration } from '../format.js';
import { markup } from '../markup.js';
import type { Markup } from '../markup.js';
import { drawing, label } from './frame.js';
import { round, seriesColour } from './series.js';

/** A piece of a bar: what, and how many seconds. */
export interface TimePiece {
  readonly series: number;
  readonly what: string;
  readonly seconds: number;
}

/** One stage: when it started, counted from the start of the run, and how its time divides. */
export interface TimeBar {
  readonly label: string;
  readonly startSeconds: number;
  readonly totalSeconds: number;
  readonly pieces: readonly TimePiece[];
}

const ROW = 26;
const WIDTH = 960;
const LEFT = 190;
const RIGHT = 96;

function bar({ startSeconds, pieces }: TimeBar, top: number, x: (seconds: number) => number): Markup[] {
  let at = startSeconds;
  return pieces
    .filter((piece) => piece.seconds > 0)
    .map((piece) => {
      const [left, right] = [x(at), x(at + piece.seconds)];
      at += piece.seconds;
      const width = Math.max(0.5, round(right - left));
      return markup`<g><title>${`${piece.what}: ${duration(piece.seconds)}`}</title><rect x="${round(left)}" y="${top + 5}" width="${width}" height="${ROW - 10}" fill="${seriesColour(piece.series)}"/></g>`;
    });
}

/** Steps of the time axis, seconds: round in minutes, hours and days. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200];
const DAY = 86_400;

/** Of a tick: "30 s", "2 min", "4 h", "3 d". */
function axisTime(seconds: number): string {
  if (seconds % DAY === 0) return `${seconds / DAY} d`;
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  if (seconds % 60 === 0) return `${seconds / 60} min`;
  return seconds < 60 ? `${seconds} s` : duration(seconds);
}

/** Places to name on the axis, at most eight. */
function ticksUpTo(end: number): number[] {
  const step = STEPS.find((candidate) => end / candidate <= 7) ?? Math.ceil(end / 7 / DAY) * DAY;
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => index * step);
}

/** The bars on one axis of time. */
export function timeline(title: string, description: string, bars: readonly TimeBar[]): Markup {
  const end = Math.max(1, ...bars.map((entry) => entry.startSeconds + entry.totalSeconds));
  const x = scaleLinear([0, end], [LEFT, WIDTH - RIGHT]);
  const height = bars.length * ROW;
  const grid = ticksUpTo(end).map((seconds) => {
    const at = round(x(seconds));
    const name = seconds === 0 ? '0' : axisTime(seconds);
    return markup`<path class="grid" d="M${at} 0V${height}"/>${label('tick', at, height + 16, 'middle', name)}`;
  });
  const rows = bars.map((entry, index) => {
    const baseline = index * ROW + ROW / 2 + 4;
    const after = x(entry.startSeconds + entry.totalSeconds) + 6;
    return [
      label('value', 0, baseline, 'start', entry.label),
      bar(entry, index * ROW, x),
      label('tick', after, baseline, 'start', duration(entry.totalSeconds)),
    ];
  });
  const axis = label(
    'axis',
    (LEFT + WIDTH - RIGHT) / 2,
    height + 34,
    'middle',
    'Time since the start of the run',
  );
  const layout = { width: WIDTH, height: height + 40, top: 0, right: RIGHT, bottom: 40, left: LEFT };
  return drawing(layout, title, description, [grid, rows, axis]);
}
