/** Figures of benchmarks. */
import { loadavg } from 'node:os';

/** The middle value, or the mean of the two in the middle. @throws RangeError of no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  if (low === undefined || high === undefined) throw new RangeError('no values');
  return (low + high) / 2;
}

/** "median (least to most)", with a unit. */
export function spread(values: readonly number[], unit: string, digits = 0): string {
  const show = (value: number): string => value.toFixed(digits);
  return `${show(median(values))} ${unit} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;
}

/** How busy the machine was: a benchmark beside other work says so. */
export function loadText(): string {
  return `load average over a minute: ${loadavg()[0]?.toFixed(1) ?? '?'}`;
}
