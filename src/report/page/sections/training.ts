/** Training: loss and learning rate of every stage. */
import { lineChart } from '../charts/line-chart.js';
import type { LinePoint } from '../charts/line-chart.js';
import { figure, gap, section } from '../elements.js';
import { count, decimal, integer, scientific } from '../format.js';
import { markup } from '../markup.js';
import type { Content, Markup } from '../markup.js';
import type { ReportData, TrainingCurve, TrainingPoint } from '../../data/report-data.js';

/** Colour of training curves: that of no model. */
const CURVE = 6;
/** Curves with more steps than this get a smoothed line over the raw one. */
const SMOOTHED_FROM = 40;

function pointsOf(curve: TrainingCurve, value: (point: TrainingPoint) => number): LinePoint[] {
  return curve.points.map((point) => ({ x: point.step, y: value(point) }));
}

/** Mean over the steps around each, a fortieth of the stage to either side. */
function smoothed(points: readonly LinePoint[]): LinePoint[] {
  const reach = Math.max(1, Math.round(points.length / 40));
  return points.map((point, index) => {
    const window = points.slice(Math.max(0, index - reach), index + reach + 1);
    return { x: point.x, y: window.reduce((sum, { y }) => sum + y, 0) / window.length };
  });
}

function resumesOf(curve: TrainingCurve) {
  return curve.resumes.map(({ epoch, fromStep }) => ({ x: fromStep, label: `attempt ${epoch}` }));
}

function lossChart(curve: TrainingCurve): Markup {
  const points = pointsOf(curve, ({ loss }) => loss);
  const raw = { series: CURVE, points, markers: points.length < 2 };
  const lines =
    points.length < SMOOTHED_FROM
      ? [raw]
      : [
          { ...raw, faint: true },
          { series: CURVE, points: smoothed(points), markers: false },
        ];
  const [first, last] = [curve.points[0], curve.points.at(-1)];
  const description =
    first === undefined || last === undefined
      ? 'No step was reported.'
      : `From ${decimal(first.loss, 3)} at step ${first.step} to ${decimal(last.loss, 3)} at step ${last.step}.`;
  return lineChart({
    text: {
      title: `Training loss of ${curve.label}`,
      description,
      x: 'Optimizer step',
      y: 'Loss, nats per token',
    },
    lines,
    xScale: 'linear',
    fromZero: false,
    formatX: (value) => (Number.isInteger(value) ? integer(value) : ''),
    formatY: (value) => decimal(value, 2),
    verticals: resumesOf(curve),
  });
}

function rateChart(curve: TrainingCurve): Markup {
  const points = pointsOf(curve, ({ learningRate }) => learningRate);
  const highest = Math.max(0, ...points.map(({ y }) => y));
  return lineChart({
    text: {
      title: `Learning rate of ${curve.label}`,
      description: `Peak ${scientific(highest)}.`,
      x: 'Optimizer step',
      y: 'Learning rate',
    },
    lines: [{ series: CURVE, points, markers: points.length < 2 }],
    xScale: 'linear',
    fromZero: true,
    formatX: (value) => (Number.isInteger(value) ? integer(value) : ''),
    formatY: (value) => scientific(value, 2),
    size: { left: 76 },
  });
}

function summaryOf(curve: TrainingCurve): string {
  const last = curve.points.at(-1);
  if (last === undefined) return '';
  const seconds = curve.points.reduce((sum, point) => sum + point.seconds, 0);
  const tokens = last.tokens - (curve.points[0]?.tokens ?? 0) + tokensOfFirstStep(curve);
  const speed = seconds > 0 ? `, ${count(tokens / seconds)} tokens/s` : '';
  return ` · ${integer(last.step)} steps, ${count(last.tokens)} tokens${speed}`;
}

/** Tokens of the first reported step; all steps of a stage are equally large. */
function tokensOfFirstStep({ points }: TrainingCurve): number {
  const [first] = points;
  return first === undefined ? 0 : first.tokens / first.step;
}

function curvePart(curve: TrainingCurve): Content {
  if (curve.points.length === 0) return gap(`Training curve of ${curve.label}`);
  const caption = markup`${curve.label}<span class="soft">${summaryOf(curve)}</span>`;
  return markup`<div class="charts">${figure(caption, lossChart(curve))}${figure('Learning rate', rateChart(curve))}</div>`;
}

/** The section. */
export function trainingSection(data: ReportData): Markup {
  const content = data.training.length === 0 ? gap('Training curves') : data.training.map(curvePart);
  return section('training', 'Training', content);
}
