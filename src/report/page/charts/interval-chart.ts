/** Estimates with their intervals, side by side in groups: recall of every model at every length. */
import { scaleLinear } from 'd3-scale';
import { percent } from '../format.js';
import { markup } from '../markup.js';
import type { Markup } from '../markup.js';
import { CHART, framed, horizontal, vertical } from './frame.js';
import type { ChartText } from './frame.js';
import { marker, round, seriesColour } from './series.js';

/** An estimate of one series. `place`: where it stands in its group, from the left. */
export interface IntervalPoint {
  readonly place: number;
  readonly series: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly title: string;
}

/** Estimates that stand together over one label of the x axis. */
export interface IntervalGroup {
  readonly label: string;
  readonly points: readonly IntervalPoint[];
}

/** Chart of shares between 0 and 1. */
export function intervalChart(
  text: ChartText,
  groups: readonly IntervalGroup[],
  placesPerGroup: number,
): Markup {
  const layout = { ...CHART, width: 720, height: 300 };
  const y = scaleLinear([0, 1], vertical(layout));
  const [left, right] = horizontal(layout);
  const groupWidth = (right - left) / Math.max(1, groups.length);
  const step = (groupWidth * 0.72) / Math.max(1, placesPerGroup);
  const marks = groups.map((group, groupIndex) => {
    const centre = left + groupWidth * (groupIndex + 0.5);
    return group.points.map((point) => {
      const x = round(centre + step * (point.place - (placesPerGroup - 1) / 2));
      const [high, low] = [round(y(point.high)), round(y(point.low))];
      const whisker = `M${x - 4} ${high}h8M${x} ${high}V${low}M${x - 4} ${low}h8`;
      return markup`<g><title>${point.title}</title><path d="${whisker}" class="curve" stroke="${seriesColour(point.series)}"/>${marker(point.series, x, y(point.mean), 5)}</g>`;
    });
  });
  const ticks = {
    x: groups.map((group, index) => ({ at: left + groupWidth * (index + 0.5), label: group.label })),
    y: [0, 0.25, 0.5, 0.75, 1].map((value) => ({ at: y(value), label: percent(value) })),
  };
  return framed(layout, text, ticks, marks);
}
