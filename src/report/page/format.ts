/** Numbers for people, with their units. `null` is "not measured" everywhere. */
import { formatCount, formatLength } from '../../domain/recipe/quantities.js';

/** What stands where nothing was measured. */
export const GAP = 'not measured';

/** 0.594 is "59 %". Shares that aren't 0 or 1 never read as such. */
export function percent(share: number): string {
  if (share > 0 && share < 0.005) return '<1 %';
  if (share < 1 && share > 0.995) return '>99 %';
  return `${Math.round(share * 100)} %`;
}

/** Without its sign: 0.55 is "55". For ranges and differences in points. */
export function points(share: number): string {
  return String(Math.round(Math.abs(share) * 100));
}

/** A signed number: "+0.31", "−0.31". */
export function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value > 0 ? '+' : '−'}${text}`;
}

/** A number with a real minus sign. */
export function decimal(value: number, digits: number): string {
  return value < 0 && Number(value.toFixed(digits)) !== 0
    ? `−${Math.abs(value).toFixed(digits)}`
    : Math.abs(value).toFixed(digits);
}

/** Seconds: "0.42 s", "38 s", "4 min 12 s", "3 h 05 min". */
export function duration(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** A RoPE base: 8e6 is "8 × 10⁶", 1000 is "1,000". */
export function theta(value: number): string {
  return value < 1e5 ? integer(Math.round(value)) : scientific(value);
}

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';

/** "1.28 × 10⁸". */
export function scientific(value: number, digits = 3): string {
  if (value === 0) return '0';
  const [mantissa = '', exponent = '0'] = value.toExponential(digits - 1).split('e');
  const power = Array.from(exponent.replace('+', ''))
    .map((character) => (character === '-' ? '⁻' : (SUPERSCRIPTS[Number(character)] ?? '')))
    .join('');
  return `${String(Number(mantissa))} × 10${power}`;
}

/** 819200 is "819,200". */
export function integer(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** "1 context", "8 contexts". */
export function plural(many: number, one: string): string {
  return `${integer(many)} ${one}${many === 1 ? '' : 's'}`;
}

/** "2026-11-24 05:34:10 UTC". */
export function instant(at: string): string {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
}

/** "4,089 tokens", "4,089 to 4,092 tokens". */
export function tokenRange(range: { readonly fewest: number; readonly most: number }): string {
  const { fewest, most } = range;
  return fewest === most ? plural(most, 'token') : `${integer(fewest)} to ${plural(most, 'token')}`;
}

/** "0.31 to 0.50", and what stands for it where one context or row alone was measured. */
export function intervalText(
  { low, high }: { readonly low: number | null; readonly high: number | null },
  format: (value: number) => string,
): string {
  return low === null || high === null ? 'interval unknown' : `${format(low)} to ${format(high)}`;
}

/** Seconds between two instants; null when one is missing. */
export function secondsBetween(from: string | null, to: string | null): number | null {
  return from === null || to === null ? null : (Date.parse(to) - Date.parse(from)) / 1000;
}

/** Formats what was measured, and says so where nothing was. */
export function orGap(value: number | null, format: (value: number) => string): string {
  return value === null ? GAP : format(value);
}

export { formatCount as count, formatLength as length };
